use super::*;
use crate::auth::test_issuer::{TestIssuer, pem};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

const ALGORITHMS: [&str; 3] = ["EdDSA", "ES256", "RS256"];

fn parse(text: impl AsRef<str>) -> Result<PublicKeys, KeySetError> {
    PublicKeys::parse(text.as_ref().as_bytes())
}

fn verifies(keys: &PublicKeys, issuer: &TestIssuer, algorithm: &str) -> bool {
    keys.verify(&Token::parse(&issuer.token(algorithm, &json!({}))).unwrap()).is_ok()
}

#[test]
fn a_key_set_and_pem_verify_the_same() {
    let (issuer, stranger) = (TestIssuer::new(), TestIssuer::new());
    for keys in
        [parse(issuer.jwks().to_string()), parse(issuer.pem()), parse(format!("\n # keys\n{}", issuer.pem()))]
    {
        let keys = keys.unwrap();
        assert_eq!(keys.0.len(), 3);
        for algorithm in ALGORITHMS {
            assert!(verifies(&keys, &issuer, algorithm), "{algorithm}");
        }
        assert!(!verifies(&keys, &stranger, "EdDSA") && !verifies(&keys, &stranger, "ES256"));
    }
}

#[test]
fn the_key_that_a_token_names_is_the_only_one_that_is_tried() {
    let issuer = TestIssuer::new();
    let mut jwks = issuer.jwks();
    jwks["keys"][0]["kid"] = json!("retired");
    let keys = parse(jwks.to_string()).unwrap();
    assert!(!verifies(&keys, &issuer, "EdDSA") && verifies(&keys, &issuer, "ES256"));
    jwks["keys"][0].as_object_mut().unwrap().remove("kid");
    let keys = parse(jwks.to_string()).unwrap();
    assert!(verifies(&keys, &issuer, "EdDSA"), "a key without an id is tried for every id");
}

#[test]
fn keys_that_sign_no_tokens_are_passed_over() {
    let issuer = TestIssuer::new();
    let all = issuer.jwks();
    let one = |index: usize, changes: Value| {
        let mut key = all["keys"][index].clone();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        parse(json!({"keys": [key, {"kty": "later", "x": 1}, 7, {}]}).to_string())
    };
    assert_eq!(one(0, json!({"alg": "EdDSA", "key_ops": ["verify"]})).unwrap().0.len(), 1);
    assert!(one(0, json!({"alg": "Ed25519"})).is_ok());
    for (index, changes) in [
        (0, json!({"use": "enc"})),
        (0, json!({"key_ops": ["sign"]})),
        (0, json!({"crv": "Ed448"})),
        (0, json!({"x": "AAAA"})),
        (1, json!({"crv": "P-384"})),
        (1, json!({"alg": "ES384"})),
        (1, json!({"y": "="})),
        (2, json!({"alg": "PS256"})),
        (2, json!({"alg": "HS256"})),
        (2, json!({"kty": "oct"})),
        (2, json!({"n": "A".repeat(170)})),
        (2, json!({"n": "_".repeat(20_000)})),
    ] {
        let result = one(index, changes.clone());
        assert!(matches!(result, Err(KeySetError::NoKey)), "{changes}: {result:?}");
    }
}

#[test]
fn files_that_are_no_public_keys_are_refused() {
    let issuer = TestIssuer::new();
    let many = json!({"keys": vec![issuer.jwks()["keys"][0].clone(); 65]}).to_string();
    let private = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "A", "d": "A"}]}).to_string();
    let secret = json!({"keys": [{"kty": "oct", "k": "AAAA"}]}).to_string();
    for (text, said) in [
        ("", "has no public key"),
        ("{", "is not a JSON Web Key Set"),
        ("{\"keys\":{}}", "is not a JSON Web Key Set"),
        ("{\"keys\":[]}", "has no public key"),
        (&many, "has more than 64 keys"),
        (&private, "has a private key"),
        (&secret, "has a private key"),
        (&pem("PRIVATE KEY", b"x"), "has a private key"),
        (&pem("PUBLIC KEY", b"x"), "has no public key"),
        (&pem("PUBLIC KEY", &[&issuer.ed_public_der()[..], &[0]].concat()), "has no public key"),
        ("-----BEGIN PUBLIC KEY-----\n", "is neither"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(said), "{text:.40}: {error}");
    }
}

#[test]
fn a_changed_key_file_counts_at_once_unless_it_is_broken() {
    let (first, second) = (TestIssuer::new(), TestIssuer::new());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    std::fs::write(&path, first.jwks().to_string()).unwrap();
    let file = KeyFile::open(&path).unwrap();
    let known = |issuer: &TestIssuer| verifies(&file.keys(), issuer, "EdDSA");
    assert!(known(&first) && !known(&second));
    // In place, with the same length, within the same tick of the clock.
    std::fs::write(&path, second.jwks().to_string()).unwrap();
    assert!(known(&second) && !known(&first), "a key that was taken out is worth nothing at once");
    for broken in ["{", "", "nonsense"] {
        std::fs::write(&path, broken).unwrap();
        assert!(known(&second), "{broken:?}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(known(&second));
    // As a Secret is changed on Kubernetes: a link that points elsewhere.
    let next = dir.path().join("next");
    std::fs::write(&next, first.pem()).unwrap();
    std::os::unix::fs::symlink(&next, &path).unwrap();
    assert!(known(&first) && !known(&second));
}

#[test]
fn a_file_that_has_not_changed_is_not_read_again() {
    let issuer = TestIssuer::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    std::fs::write(&path, issuer.jwks().to_string()).unwrap();
    let file = KeyFile::open(&path).unwrap();
    let deadline = SystemTime::now() + Duration::from_secs(20);
    loop {
        let (one, other) = (file.keys(), file.keys());
        if std::sync::Arc::ptr_eq(&one, &other) {
            break;
        }
        assert!(SystemTime::now() < deadline, "still read each time");
        std::thread::sleep(Duration::from_millis(50));
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, json in r#"\{"keys":\[(\{"kty":"(RSA|EC|OKP)","(crv|n|x|kid)":"[A-Za-z-]{0,9}"\},?){0,2}\]\}"#) {
        PublicKeys::parse(&bytes).ok();
        prop_assert!(PublicKeys::parse(json.as_bytes()).is_err());
        prop_assert!(parse(pem("PUBLIC KEY", &bytes)).is_err());
    }
}

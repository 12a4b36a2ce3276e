//! Every kind of bad token with the code that it gets, beside good ones.

use super::{
    Keys, NamePattern, Permissions, TokenError, TokenGrant, TokenKeys, TokenRequest, TokenVerifier,
    mint::{MintError, mint},
    test_issuer::{TestIssuer, forge, sign_ed25519},
};
use adit_config::{Access, Issuer};
use adit_protocol::{Account, Code, Kind, account::MANAGED_ISSUER};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{sync::LazyLock, time::Duration};

const NOW: u64 = 1_800_000_000;
const DOMAIN: &str = "eu.example.com";

/// A provider with tokens of its own.
struct Provider {
    keys: Keys,
    tokens: TokenVerifier,
}

static PROVIDER: LazyLock<Provider> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::load_or_create(dir.path()).unwrap();
    let tokens = TokenVerifier::new(&Access::default(), &keys, DOMAIN).unwrap();
    Provider { keys, tokens }
});

/// A provider that trusts another issuer, whose keys are in a JSON Web Key Set.
struct Trusting {
    issuer: TestIssuer,
    tokens: TokenVerifier,
    _dir: tempfile::TempDir,
}

static TRUSTING: LazyLock<Trusting> = LazyLock::new(|| {
    let issuer = TestIssuer::new();
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("jwks.json");
    std::fs::write(&keys, issuer.jwks().to_string()).unwrap();
    let trusted = Issuer { issuer: "https://id.example".into(), audience: "tunnels".into(), keys };
    let access = Access { tokens: adit_config::Tokens::Issuers(vec![trusted]), ..Access::default() };
    let tokens = TokenVerifier::new(&access, &PROVIDER.keys, DOMAIN).unwrap();
    Trusting { issuer, tokens, _dir: dir }
});

fn request() -> TokenRequest {
    let account = Account::managed("me");
    TokenRequest { account, ttl: Duration::from_secs(900), names: None, kinds: None, audience: DOMAIN.into() }
}

fn foreign_claims() -> Value {
    json!({ "iss": "https://id.example", "sub": "ci", "aud": "tunnels", "exp": NOW + 300, "iat": NOW })
}

fn managed_claims() -> Value {
    json!({ "iss": "adit", "sub": "me", "aud": DOMAIN, "exp": NOW + 300, "iat": NOW, "jti": "1" })
}

/// The claims with some replaced; `null` takes one out.
fn with(mut claims: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(key);
        } else {
            claims[key] = value.clone();
        }
    }
    claims
}

fn managed(claims: &Value) -> Result<TokenGrant, TokenError> {
    let token = forge(&json!({"alg": "EdDSA"}).to_string(), &claims.to_string(), |message| {
        PROVIDER.keys.tokens.sign(message).unwrap()
    });
    PROVIDER.tokens.verify(&token, NOW)
}

fn foreign(changes: Value) -> Result<TokenGrant, TokenError> {
    let token = TRUSTING.issuer.token("EdDSA", &with(foreign_claims(), changes));
    TRUSTING.tokens.verify(&token, NOW)
}

fn code(result: Result<TokenGrant, TokenError>) -> Code {
    result.expect_err("a bad token").code()
}

#[test]
fn a_token_of_the_provider_admits_its_account_once() {
    let token = mint(&PROVIDER.keys.tokens, &request(), NOW).unwrap();
    let grant = PROVIDER.tokens.verify(&token, NOW).unwrap();
    assert_eq!((grant.account, grant.managed), (Account::managed("me"), true));
    assert_eq!((grant.expires, grant.permissions), (NOW + 900, Permissions::managed()));
    let other = mint(&PROVIDER.keys.tokens, &request(), NOW).unwrap();
    let other = PROVIDER.tokens.verify(&other, NOW).unwrap();
    assert!(grant.token_id.is_some() && grant.token_id != other.token_id);

    let names: Vec<NamePattern> = vec!["ci-*".parse().unwrap(), "shop".parse().unwrap()];
    let narrow = TokenRequest { names: Some(names.clone()), kinds: Some(vec![Kind::Tcp]), ..request() };
    let narrow = mint(&PROVIDER.keys.tokens, &narrow, NOW).unwrap();
    let granted = PROVIDER.tokens.verify(&narrow, NOW).unwrap().permissions;
    assert_eq!((granted.names, granted.kinds), (Some(names), vec![Kind::Tcp]));
}

#[test]
fn only_what_would_be_taken_is_made() {
    let make = |request| mint(&PROVIDER.keys.tokens, &request, NOW).map(drop);
    for bad in
        [Account::managed("a|b"), Account::managed(""), Account { issuer: "x".into(), subject: "y".into() }]
    {
        assert_eq!(make(TokenRequest { account: bad, ..request() }), Err(MintError::Account));
    }
    for bad in [Duration::ZERO, Duration::from_millis(999), Duration::from_secs(86_401)] {
        assert_eq!(make(TokenRequest { ttl: bad, ..request() }), Err(MintError::Ttl));
    }
    let names = Some(vec!["*".parse().unwrap(); 65]);
    assert_eq!(make(TokenRequest { names, ..request() }), Err(MintError::Names));
    let longest = TokenRequest { ttl: Duration::from_secs(86_400), ..request() };
    let token = mint(&PROVIDER.keys.tokens, &longest, NOW).unwrap();
    assert!(PROVIDER.tokens.verify(&token, NOW - 60).is_ok(), "at a relay whose clock is slow, too");
}

#[test]
fn each_algorithm_of_another_issuer_is_verified() {
    for algorithm in ["EdDSA", "Ed25519", "ES256", "RS256"] {
        let token = TRUSTING.issuer.token(algorithm, &foreign_claims());
        let grant = TRUSTING.tokens.verify(&token, NOW).unwrap();
        assert_eq!(grant.account.key(), "https://id.example|ci", "{algorithm}");
        assert_eq!((grant.managed, grant.permissions), (false, Permissions::foreign()));
    }
    let claims =
        json!({"adit": {"kinds": ["tcp"], "names": [], "limits": {"streams": 7}}, "aud": ["x", "tunnels"]});
    let granted = foreign(claims).unwrap().permissions;
    assert_eq!((granted.kinds.as_slice(), granted.names.as_deref()), (&[Kind::Tcp][..], Some(&[][..])));
    assert_eq!(granted.limits(&adit_config::Limits::default()).streams, 7);
    assert!(foreign(json!({"exp": NOW as f64 + 0.5, "nbf": NOW + 60, "jti": 7})).is_ok());
}

#[test]
fn the_algorithm_is_the_keys_and_never_the_tokens() {
    let issuer = &TRUSTING.issuer;
    let claims = foreign_claims().to_string();
    let check = |header: Value, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        code(TRUSTING.tokens.verify(&forge(&header.to_string(), &claims, sign), NOW))
    };
    let nothing = |_: &[u8]| vec![];
    for name in ["none", "None", "NONE", "", "HS256", "HS512", "ES384", "PS256", "RS512", "eddsa"] {
        assert_eq!(check(json!({"alg": name}), &nothing), Code::TokenAlgorithm, "{name}");
    }
    // A public key as the secret of an HMAC: where the token chooses the algorithm, this is good.
    for public in [issuer.jwks().to_string().into_bytes(), issuer.rsa_public_der()] {
        let hmac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &public);
        let sign = |message: &[u8]| aws_lc_rs::hmac::sign(&hmac, message).as_ref().to_vec();
        assert_eq!(check(json!({"alg": "HS256", "kid": "rsa"}), &sign), Code::TokenAlgorithm);
    }
    // The key that the token names is for another algorithm.
    let ed = |message: &[u8]| issuer.sign("EdDSA", message);
    assert_eq!(check(json!({"alg": "EdDSA", "kid": "rsa"}), &ed), Code::TokenAlgorithm);
    assert_eq!(check(json!({"alg": "RS256", "kid": "ed"}), &ed), Code::TokenAlgorithm);
    assert_eq!(check(json!({"alg": "RS256"}), &ed), Code::TokenSignature);
    // Keys that a token brings along are not looked at.
    let own = issuer.jwks()["keys"][0].clone();
    let stranger = TestIssuer::new();
    let foreign = |message: &[u8]| stranger.sign("EdDSA", message);
    let jwk = stranger.jwks()["keys"][0].clone();
    assert_eq!(own["kid"], jwk["kid"]);
    assert_eq!(check(json!({"alg": "EdDSA", "jwk": jwk, "kid": "ed"}), &foreign), Code::TokenSignature);
    assert_eq!(check(json!({"alg": "EdDSA", "crit": ["x"], "x": 1}), &ed), Code::TokenMalformed);
}

#[test]
fn a_token_that_is_cut_or_changed_is_refused() {
    let token = TRUSTING.issuer.token("ES256", &foreign_claims());
    let verify = |text: &str| TRUSTING.tokens.verify(text, NOW);
    for end in 0..token.len() {
        let code = code(verify(&token[..end]));
        assert!(matches!(code, Code::TokenMalformed | Code::TokenSignature), "{end}: {code}");
    }
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    for (text, expected) in [
        (String::new(), Code::TokenMalformed),
        ("..".into(), Code::TokenMalformed),
        (format!("{token}."), Code::TokenMalformed),
        (format!("{token}.{signature}"), Code::TokenMalformed),
        (format!("{token}="), Code::TokenMalformed),
        (format!(" {token}"), Code::TokenMalformed),
        (format!("{token}\n"), Code::TokenMalformed),
        (format!("{header}.{claims}."), Code::TokenSignature),
        (format!("{header}.{claims}.AAAA"), Code::TokenSignature),
        ("x".repeat(1 << 20), Code::TokenMalformed),
        (format!("{header}.{}.{signature}", "A".repeat(1 << 20)), Code::TokenMalformed),
        (format!("{}{token}", "A".repeat(16 * 1024)), Code::TokenMalformed),
        ("é".repeat(10), Code::TokenMalformed),
    ] {
        assert_eq!(code(verify(&text)), expected, "{text:.60}");
    }
    for json in ["", "1", "[]", "null", "{", "{}x", "{\"alg\":1}", "{}", "{\"alg\":\"EdDSA\",\"kid\":7}"] {
        let token =
            forge(json, &foreign_claims().to_string(), |message| TRUSTING.issuer.sign("EdDSA", message));
        assert_eq!(code(verify(&token)), Code::TokenMalformed, "{json}");
    }
    let twice = forge(r#"{"alg":"EdDSA","alg":"none"}"#, "{}", |_| vec![]);
    assert_eq!(code(verify(&twice)), Code::TokenMalformed);
    let swapped = with(foreign_claims(), json!({"sub": "root"})).to_string();
    let other = forge(r#"{"alg":"ES256"}"#, &swapped, |_| vec![0; 64]);
    assert_eq!(code(verify(&other)), Code::TokenSignature);
}

#[test]
fn every_claim_is_checked_with_a_code_of_its_own() {
    let fails = |changes: Value| {
        let error = foreign(changes.clone()).expect_err("a bad token");
        assert!(error.to_string().len() < 400 && !error.to_string().contains('\n'), "{error}");
        (error.code(), error.to_string())
    };
    let claims = Code::TokenClaims;
    let deep =
        |depth: usize| serde_json::from_str::<Value>(&("[".repeat(depth) + &"]".repeat(depth))).unwrap();
    for (changes, expected) in [
        (json!({"iss": "https://evil.example"}), Code::TokenIssuer),
        (json!({"iss": "adit"}), Code::TokenIssuer),
        (json!({"iss": null}), claims),
        (json!({"iss": ["https://id.example"]}), claims),
        (json!({"aud": "us.example.com"}), Code::TokenAudience),
        (json!({"aud": []}), Code::TokenAudience),
        (json!({"aud": ["a", "tunnel"]}), Code::TokenAudience),
        (json!({"aud": "Tunnels"}), Code::TokenAudience),
        (json!({"aud": null}), claims),
        (json!({"aud": {"tunnels": true}}), claims),
        (json!({"aud": ["tunnels", 1]}), claims),
        (json!({"aud": vec!["tunnels"; 65]}), claims),
        (json!({"exp": NOW - 60}), Code::TokenExpired),
        (json!({"exp": 0}), Code::TokenExpired),
        (json!({"exp": null}), claims),
        (json!({"exp": "2027-01-01"}), claims),
        (json!({"exp": -1}), claims),
        (json!({"exp": 1e300}), claims),
        (json!({"iat": NOW + 61}), Code::ClockSkew),
        (json!({"nbf": NOW + 61}), Code::ClockSkew),
        (json!({"nbf": u64::MAX}), Code::ClockSkew),
        (json!({"nbf": true}), claims),
        (json!({"iat": [NOW]}), claims),
        (json!({"sub": null}), claims),
        (json!({"sub": ""}), claims),
        (json!({"sub": 7}), claims),
        (json!({"sub": "a\nb"}), claims),
        (json!({"sub": "x".repeat(500)}), claims),
        (json!({"adit": "all"}), claims),
        (json!({"adit": {"name": ["shop"]}}), claims),
        (json!({"adit": {"names": "shop"}}), claims),
        (json!({"adit": {"names": ["Shop"]}}), claims),
        (json!({"adit": {"names": vec!["a"; 65]}}), claims),
        (json!({"adit": {"kinds": ["udp"]}}), claims),
        (json!({"adit": {"kinds": [deep(60)]}}), claims),
        (json!({"adit": {"limits": {"tunnels": 0}}}), claims),
        (json!({"adit": {"limits": {"rate": 1}}}), claims),
    ] {
        assert_eq!(fails(changes.clone()).0, expected, "{changes}");
    }
    for (changes, text) in [
        (
            json!({"adit": {"names": ["ok", "a_b"]}}),
            "adit.names[1]: \"a_b\" is not a pattern of names, which has 1 to 63 of a-z, 0-9, '-' and '*'",
        ),
        (
            json!({"adit": {"limits": {"tunnels": 0}}}),
            "adit.limits.tunnels: 0 is not a whole number from 1 to 10000",
        ),
        (json!({"aud": "x"}), "aud: \"x\" does not name \"tunnels\""),
        (
            json!({"exp": NOW - 660}),
            "exp: the token expired at 2027-01-15T07:49:00Z, 660 s before this relay's 2027-01-15T08:00:00Z",
        ),
        (
            json!({"nbf": NOW + 660}),
            "nbf: the token starts at 2027-01-15T08:11:00Z, 660 s after this relay's 2027-01-15T08:00:00Z",
        ),
    ] {
        assert_eq!(fails(changes).1, text);
    }
}

#[test]
fn a_claim_that_stands_twice_is_refused() {
    let claims = foreign_claims().to_string().replacen('{', r#"{"sub":"root","#, 1);
    let token = forge(r#"{"alg":"EdDSA"}"#, &claims, |message| TRUSTING.issuer.sign("EdDSA", message));
    let error = TRUSTING.tokens.verify(&token, NOW).unwrap_err();
    assert_eq!((error.code(), error.to_string()), (Code::TokenClaims, "\"sub\" is there twice".into()));
}

#[test]
fn tokens_of_the_provider_obey_further_rules() {
    assert!(managed(&managed_claims()).is_ok());
    for (changes, expected) in [
        (json!({"iss": "https://id.example"}), Code::TokenIssuer),
        (json!({"aud": "us.example.com"}), Code::TokenAudience),
        (json!({"jti": null}), Code::TokenClaims),
        (json!({"jti": "x".repeat(129)}), Code::TokenClaims),
        (json!({"sub": "a|b"}), Code::TokenClaims),
        (json!({"exp": NOW + 86_461}), Code::TokenClaims),
        (json!({"exp": NOW - 60}), Code::TokenExpired),
        (json!({"iat": NOW + 61}), Code::ClockSkew),
    ] {
        assert_eq!(code(managed(&with(managed_claims(), changes.clone()))), expected, "{changes}");
    }
    let by_other_key = forge(r#"{"alg":"EdDSA"}"#, &managed_claims().to_string(), sign_ed25519);
    assert_eq!(code(PROVIDER.tokens.verify(&by_other_key, NOW)), Code::TokenSignature);
    let theirs = TRUSTING.issuer.token("RS256", &managed_claims());
    assert_eq!(code(PROVIDER.tokens.verify(&theirs, NOW)), Code::TokenAlgorithm);
}

#[test]
fn a_provider_whose_key_was_changed_takes_both_for_a_while() {
    let (old, new) = (TokenKeys::generate(), TokenKeys::generate());
    let keys = |text: &str| Keys {
        region: PROVIDER.keys.region.clone(),
        tokens: TokenKeys::parse(text.as_bytes()).unwrap(),
    };
    let both = TokenVerifier::new(&Access::default(), &keys(&format!("{new}{old}")), DOMAIN).unwrap();
    for text in [&old, &new] {
        let token = mint(&keys(text).tokens, &request(), NOW).unwrap();
        assert!(both.verify(&token, NOW).is_ok());
        assert_eq!(code(PROVIDER.tokens.verify(&token, NOW)), Code::TokenSignature);
    }
}

proptest! {
    #[test]
    fn no_token_panics(text in "[A-Za-z0-9_.-]{0,80}", any in ".{0,80}", now: u64) {
        for tokens in [&PROVIDER.tokens, &TRUSTING.tokens] {
            prop_assert!(tokens.verify(&text, now).is_err());
            prop_assert!(tokens.verify(&any, now).is_err());
        }
    }

    #[test]
    fn no_signed_claims_panic(claim in "iss|sub|aud|exp|nbf|iat|jti|adit", number: f64, int: i64, text: String, now: u64) {
        let number = if number.is_finite() { json!(number) } else { json!(0) };
        for value in [number, json!(int), json!(text), json!([text]), json!({"names": [text], "kinds": [int]})] {
            for claims in [foreign_claims(), managed_claims()] {
                let claims = with(claims, json!({claim.as_str(): value}));
                let issuer = claims["iss"].as_str().unwrap_or_default();
                if issuer == MANAGED_ISSUER {
                    managed(&claims).ok();
                } else {
                    let token = TRUSTING.issuer.token("EdDSA", &claims);
                    TRUSTING.tokens.verify(&token, now).ok();
                }
            }
        }
    }
}

use super::*;
use adit_protocol::Code;

#[test]
fn every_code_of_the_protocol_is_explained() {
    for code in Code::ALL.iter().chain([&Code::Unknown]) {
        assert!(explanation(code.as_str()).is_some(), "{code}");
    }
}

#[test]
fn every_code_stands_once_and_can_be_said_without_facts() {
    assert!(CODES.windows(2).all(|pair| pair[0].code < pair[1].code));
    for known in CODES {
        let problem = Problem::new(known.code);
        assert!(!problem.message.is_empty() && !problem.message.contains('{'), "{}", known.code);
        assert_ne!(problem.message, known.code, "the code is no message");
        assert!((1..=7).contains(&known.exit_code), "{}", known.code);
        assert!((400..600).contains(&known.status), "{}", known.code);
        assert!(problem.next.is_some(), "{}: what is to be done?", known.code);
        assert!(!known.about.is_empty() && !known.about.contains("  "), "{}", known.code);
        let texts = [known.what, known.why, known.next].concat();
        assert!(texts.iter().all(|t| t.matches('{').count() == t.matches('}').count()), "{}", known.code);
    }
}

#[test]
fn facts_make_the_texts_more_exact() {
    let suspended = Problem::new("suspended").with("account", "acme-ci");
    assert_eq!(suspended.message, "account acme-ci is suspended");
    assert_eq!(suspended.why, None);
    let suspended =
        suspended.with("until", "2027-01-01").with("reason", "phishing").with("complaint", "cpl-7f3k");
    assert_eq!(suspended.to_string(), "account acme-ci is suspended until 2027-01-01 [suspended]");
    assert_eq!(suspended.why.as_deref(), Some("phishing, complaint cpl-7f3k"));
    assert_eq!(suspended.with("abuse", "").next.as_deref(), Some("write to the provider"));
    let limited = Problem::new("rate_limited").with("limit", 200).with("refused", 14);
    assert_eq!(limited.message, "200 requests/s reached; 14 consumers got 429");
}

#[test]
fn the_relays_words_stand_in_for_a_missing_reason() {
    let taken = Problem::new("name_not_allowed").with("message", "the token allows ci-*");
    assert_eq!(taken.why.as_deref(), Some("the token allows ci-*"));
    let taken = Problem::new("name_taken").with("message", "name: shop belongs to another account");
    assert_eq!(taken.why, None, "what happened says everything");
    let signature = Problem::new("token_signature").with("message", "kid unknown");
    assert_eq!(signature.why.as_deref(), Some("it is signed with a key that this region does not know"));
}

#[test]
fn a_newer_code_is_shown_with_the_relays_words() {
    let later = Problem::new("moon_phase").with("message", "wait for the full moon").fatal();
    assert_eq!(later.to_string(), "wait for the full moon [moon_phase]");
    assert_eq!((later.why, Problem::new("moon_phase").exit_code()), (None, 1));
}

#[test]
fn a_relays_words_cannot_move_the_cursor() {
    let sly = Problem::new("name_reserved").with("name", "a\x1b[2J\nb");
    assert_eq!(sly.message, "the name \"a [2J b\" is reserved");
    let sly = Problem::new("name_not_allowed").with("name", "a").with("message", "{name}\r");
    assert_eq!(sly.why.as_deref(), Some("{name} "), "facts are not templates");
}

#[test]
fn authorities_that_were_given_are_not_recommended_again() {
    let unknown =
        Problem::new("ca_unknown").with("host", "eu.example.com").with("issuer", "Adit development CA");
    assert_eq!(unknown.next.as_deref(), Some("add --ca FILE; adit-relay prints the path when it starts"));
    let given = unknown.with("ca", "old.pem");
    assert_eq!(
        given.why.as_deref(),
        Some("its certificate comes from \"Adit development CA\", which old.pem does not hold")
    );
    assert!(given.next.is_some_and(|next| next.starts_with("replace old.pem")));
}

#[test]
fn advice_names_no_command_that_is_not_there() {
    for known in CODES {
        for text in known.next.iter().chain([&known.about]) {
            assert!(!text.contains("kubectl -n") && !text.contains("--audience"), "{}: {text}", known.code);
            assert!(!text.contains("apt install"), "{}: {text}", known.code);
        }
    }
}

use super::*;
use serde_json::json;

fn problems(text: &str) -> Vec<String> {
    parse(text).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn plain_documents_become_json() {
    let document = parse("a: {b: [1, -2, 1.5, true, ~, x]}\n443: off\n");
    assert_eq!(document.root, json!({"a": {"b": [1, -2, 1.5, true, null, "x"]}, "443": "off"}));
    assert!(document.problems.is_empty());
    assert_eq!(parse("").root, Value::Null);
    assert_eq!(parse("# nothing\n"), Document { root: Value::Null, keys: vec![], problems: vec![] });
    assert_eq!(parse("a: &x {b: 1}\nc: *x").root, json!({"a": {"b": 1}, "c": {"b": 1}}));
}

#[test]
fn all_keys_that_are_there_twice_are_named() {
    assert_eq!(
        problems("a: {b: 1, b: 2}\na: 3\n"),
        ["a.b: is set twice: keep one of them", "a: is set twice: keep one of them"]
    );
}

#[test]
fn numbers_that_json_does_not_have_are_named() {
    assert_eq!(problems("a: [.inf]"), ["a[0]: inf is not a finite number"]);
    assert_eq!(problems("a: 36893488147419103232"), ["a: 36893488147419103232 is too large for a number"]);
}

#[test]
fn hostile_documents_are_refused_at_once() {
    let laughs = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, i| {
        let one = format!("*a{}", i - 1);
        format!("{text}a{i}: &a{i} [{}]\n", vec![one; 9].join(", "))
    });
    let nested: String = (0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let begun = std::time::Instant::now();
    for hostile in [
        laughs.as_str(),
        &nested,
        &"[".repeat(MAX_BYTES),
        &"[\n".repeat(MAX_BYTES / 2),
        &"{a: ".repeat(MAX_BYTES / 4),
        &"- ".repeat(MAX_BYTES / 2),
        &"? ".repeat(MAX_BYTES / 2),
        &"- a\n".repeat(MAX_BYTES / 4),
        &"a".repeat(MAX_BYTES + 1),
        "a: !tag b",
        "a: 1\n---\nb: 2\n",
        "a: [1",
        "a: *unknown",
        "a: &a [*a]",
        "? [a]\n: b",
        "\u{0}",
        "a: \"\\xZZ\"",
        "\ta: 1",
    ] {
        assert_eq!(problems(hostile).len(), 1, "{hostile:.40}");
    }
    // Generous: all of them together take about 100 ms in a build without optimisation.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        parse(&text);
    }

    #[test]
    fn any_punctuation_is_read_or_refused(text in "[\\[\\]{}:,&*!|>'\"%@`#?\\-a0 \\n\\t]{0,100}") {
        parse(&text);
    }
}

#[test]
fn keys_are_told_in_the_order_of_the_text() {
    let document = parse("b: {z: 1, a: [{y: 1}]}\na: 2\n");
    let keys: Vec<String> = document.keys.iter().map(ToString::to_string).collect();
    assert_eq!(keys, ["b", "b.z", "b.a", "b.a[0].y", "a"]);
}

#[test]
fn each_path_has_its_line() {
    let text = "# a comment\na: 1\nb:\n  c: [x,\n      y]\n  d:\n    - e: 1\n    - f: 2\n443: {g: ~}\n'h': &h\n  i: 1\n";
    let line = |path: &str| {
        let steps = path.split('.').map(|step| match step.parse() {
            Ok(index) if index < 10 => crate::problem::Step::Index(index),
            _ => step.to_owned().into(),
        });
        line_of(text, &Path(steps.collect()))
    };
    for (path, expected) in [
        ("a", Some(2)),
        ("b", Some(3)),
        ("b.c", Some(4)),
        ("b.c.1", Some(5)),
        ("b.d.1", Some(8)),
        ("b.d.1.f", Some(8)),
        ("443.g", Some(9)),
        ("h.i", Some(11)),
        ("b.x", None),
        ("a.x", None),
        ("b.d.7", None),
    ] {
        assert_eq!(line(path), expected, "{path}");
    }
    assert_eq!(line_of("\u{feff}\n\na: 1", &Path::keys("a")), Some(3));
}

//! relay.yaml with every key, its meaning, its variable and its default, from the schema.

use super::raw::RawConfig;
use adit_config::{environment::variable, schema};
use serde_json::Value;

const MAX_LINE_CHARS: usize = 100;

/// The keys in the order in which people look for them; what is not named here follows.
const KEY_ORDER: [&str; 21] = [
    "domain",
    "name",
    "dataDir",
    "listen",
    "publicPort",
    "plainHttp",
    "tcpPorts",
    "tls",
    "access",
    "limits",
    "provider",
    "registry",
    "store",
    "peer",
    "keys",
    "proxyProtocol",
    "drainTimeout",
    "connections",
    "lanes",
    "log",
    "accessLog",
];

/// Examples of keys without a default.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("access.minimumClientVersion", "0.3.0"),
    ("connections", "100000"),
    ("domain", "adit.localhost"),
    ("keys.region", "region.key"),
    ("keys.tokens", "token.key"),
    ("lanes", "2"),
    ("limits.bodyBytes", "1GiB"),
    ("limits.burst", "400"),
    ("listen.admin", "/run/adit/admin.sock"),
    ("listen.peer", "\":7443\""),
    ("name", "eu-1"),
    ("peer.advertise", "eu-1.relays.example.com:7443"),
    ("peer.ca", "peer-ca.pem"),
    ("peer.cert", "peer.pem"),
    ("peer.key", "peer.key"),
    ("provider.abuse", "abuse@example.com"),
    ("provider.name", "Example Corp"),
    ("publicPort", "443"),
    ("store", "postgres://adit@db.example.com/adit"),
    ("tls.acme.caBundle", "acme-ca.pem"),
    ("tls.acme.challenge", "http01"),
    ("tls.acme.dns.key", "tsig.key"),
    ("tls.acme.dns.keyName", "adit"),
    ("tls.acme.dns.server", "ns.example.com:53"),
    ("tls.acme.email", "ops@example.com"),
    ("tls.acme.externalAccount.key", "eab.key"),
    ("tls.acme.externalAccount.keyId", "kid-1"),
    ("tls.acme.names", "[tunnels.example.com, shop.tunnels.example.com]"),
    ("tls.acme.profile", "shortlived"),
    ("tls.acme.renewBefore", "20d"),
    ("tls.acme.resolvers", "[\"192.0.2.1:53\"]"),
    ("tls.acme.server", "https://acme-v02.api.letsencrypt.org/directory"),
    ("tcpPorts.first", "20000"),
    ("tcpPorts.last", "20099"),
];

const HEADER: &str = "\
# relay.yaml with every key and its default; keys without a default are commented out, with an example.
# `adit-relay defaults` prints this text, `adit-relay check --config FILE` validates a file.
#
# Each key can also be given as the variable in brackets, which goes before the file. In a variable a list of texts
# has commas between them; lists and mappings of anything else are YAML or JSON.
# Relative paths in the file are relative to its directory, those in variables to the working directory.
# Durations are written like 500ms, 30s, 1m30s, 1h or 7d, sizes like 65536, 512KiB, 64MiB or 10MB.
";

/// A relay.yaml with every key, its meaning, its variable and its default. It is valid as it stands.
pub fn reference() -> String {
    let schema = schema::of::<RawConfig>();
    let mut properties = schema::properties(&schema);
    properties
        .sort_by_key(|(name, _)| KEY_ORDER.iter().position(|known| known == name).unwrap_or(KEY_ORDER.len()));
    let mut text = HEADER.to_owned();
    for (name, property) in properties {
        text.push('\n');
        write_key(
            &mut text,
            name,
            property,
            property.get("default"),
            &KeyPosition { path: "", indent: 0, absent: false },
        );
    }
    text
}

/// The position of a key.
#[derive(Clone, Copy)]
struct KeyPosition<'a> {
    /// The path of what contains it, with a final dot, or nothing.
    path: &'a str,
    indent: usize,
    /// Whether what contains it is commented out.
    absent: bool,
}

fn write_key(
    text: &mut String,
    name: &str,
    schema: &Value,
    default: Option<&Value>,
    place: &KeyPosition<'_>,
) {
    let path = format!("{}{name}", place.path);
    let default = default.filter(|default| !default.is_null());
    let absent = place.absent || (default.is_none() && path != "domain");
    let margin = " ".repeat(place.indent);
    let start = if absent { format!("{margin}# ") } else { margin.clone() };
    let section = schema::section(schema).filter(|section| is_written_out(section));
    write_comment(text, &margin, description(schema));
    match section {
        Some(section) => {
            text.push_str(&format!("{start}{name}:\n"));
            let inner = KeyPosition { path: &format!("{path}."), indent: place.indent + 2, absent };
            for (name, property) in schema::properties(section) {
                let default = default.and_then(|default| default.get(name));
                write_key(text, name, property, default, &inner);
            }
        }
        None => {
            write_comment(text, &margin, &details(schema, &variables(&path, schema)));
            let example =
                EXAMPLES.iter().find(|(key, _)| *key == path).map(|(_, example)| format!(" {example}"));
            let value = default.map(value).or(example).unwrap_or_default();
            text.push_str(&format!("{start}{name}:{value}\n"));
        }
    }
}

/// Whether the keys of a mapping stand on lines of their own.
fn is_written_out(section: &Value) -> bool {
    !schema::is_choice(section) && !schema::properties(section).is_empty()
}

fn description(schema: &Value) -> &str {
    let own =
        schema.get("description").or_else(|| schema::alternatives(schema).find_map(|s| s.get("description")));
    own.and_then(Value::as_str).unwrap_or_default()
}

/// The variables of a key: one, or one for each of its alternatives.
fn variables(path: &str, schema: &Value) -> String {
    match schema::section(schema).filter(|section| schema::is_choice(section)) {
        Some(choice) => {
            let names =
                schema::properties(choice).into_iter().map(|(name, _)| variable(&format!("{path}.{name}")));
            names.collect::<Vec<_>>().join(", ")
        }
        None => variable(path),
    }
}

/// A key's variable, and what its value can be as far as the schema says so.
fn details(schema: &Value, variables: &str) -> String {
    let words = schema::alternatives(schema).filter_map(|choice| {
        let name = choice.get("const").and_then(Value::as_str);
        let name =
            name.or_else(|| choice.get("properties")?.as_object()?.keys().next().map(String::as_str))?;
        Some(format!("{name}: {}", choice.get("description")?.as_str()?.replace('\n', " ")))
    });
    let mut details: Vec<String> = words.collect();
    details.extend(elements(schema));
    if matches!(schema::written(schema), schema::Written::Scalar) {
        details.push(format!("{}.", capitalize(&schema::shape_name(schema))));
    }
    details.push(format!("[{variables}]"));
    details.join("\n\n")
}

/// The fields of the mappings of which a list consists, where a key or one of its alternatives is such a list.
fn elements(schema: &Value) -> Vec<String> {
    let choices = schema::alternatives(schema).flat_map(|choice| match schema::properties(choice) {
        properties if properties.is_empty() => vec![choice],
        properties => properties.into_iter().map(|(_, property)| property).collect(),
    });
    let items = choices.filter_map(|list| list.get("items"));
    let fields = items.flat_map(schema::properties);
    fields.map(|(name, field)| format!("- {name}: {}", description(field))).collect()
}

fn capitalize(text: &str) -> String {
    let (first, rest) = text.split_at(text.len().min(1));
    format!("{}{rest}", first.to_ascii_uppercase())
}

/// Writes paragraphs, which empty lines separate, as a comment of lines that are not too long.
fn write_comment(text: &mut String, margin: &str, comment: &str) {
    for paragraph in comment.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let mut line = format!("{margin}#");
        for word in paragraph.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > MAX_LINE_CHARS {
                text.push_str(&line);
                text.push('\n');
                line = format!("{margin}#");
            }
            line.push(' ');
            line.push_str(word);
        }
        text.push_str(&line);
        text.push('\n');
    }
}

/// A default as YAML, after the colon.
fn value(default: &Value) -> String {
    let written = match default {
        Value::String(text) => serde_yaml::to_string(text).unwrap_or_default().trim_end().to_owned(),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, field)| format!("{name}:{}", value(field))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    };
    format!(" {written}")
}

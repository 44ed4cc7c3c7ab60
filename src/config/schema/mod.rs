//! `docs/config.schema.json`: a JSON schema (draft 2020-12) of the file, for editors.

mod tables;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value as Json, json};

use super::Algorithm;
use super::keys::{Key, Kind, SECTIONS};
use super::value::METHODS;

/// The schema, pretty-printed, with a line feed at its end.
pub fn schema() -> String {
    let mut sections: Map<String, Json> = SECTIONS
        .iter()
        .map(|(section, about, keys)| {
            let properties: Map<String, Json> =
                keys.iter().map(|key| (key.name().to_owned(), property(key))).collect();
            let section_schema = json!({
                "type": "object",
                "description": about,
                "properties": properties,
                "additionalProperties": false,
            });
            ((*section).to_owned(), section_schema)
        })
        .collect();
    sections.extend([("route".to_owned(), tables::route()), ("check".to_owned(), tables::check())]);
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Nessen configuration",
        "type": "object",
        "properties": sections,
        "additionalProperties": false,
        "$defs": tables::definitions(),
    });
    format!("{schema:#}\n")
}

fn property(key: &Key) -> Json {
    let mut forms = forms(key);
    if key.off {
        forms.push(match key.kind {
            Kind::HeaderValue
            | Kind::Folder
            | Kind::File
            | Kind::Files
            | Kind::ServerName
            | Kind::UrlPath { .. } => {
                json!({ "enum": ["off", "none", "false", false] })
            }
            _ => json!({ "enum": ["off", "none", "false", false, 0] }),
        });
    }
    if key.auto.is_some() {
        forms.push(json!({ "const": "auto" }));
    }
    let auto = key.auto.map(|meaning| format!(" auto: {meaning}.")).unwrap_or_default();
    let mut property = json!({
        "description": format!("{}{auto} Allowed: {}.", key.help, key.allowed()),
    });
    if let Some(object) = property.as_object_mut() {
        match forms.as_slice() {
            [only] => object.extend(only.as_object().cloned().unwrap_or_default()),
            _ => object.extend([("anyOf".to_owned(), Json::Array(forms))]),
        }
        // Some rows of a route or check have no default: they are written, or mean nothing.
        if !key.default.is_empty() {
            object.insert("default".to_owned(), default(key));
        }
    }
    property
}

/// The ways to write a value of this kind. What a pattern cannot say, as the range of `64KiB`, the
/// server still checks.
fn forms(key: &Key) -> Vec<Json> {
    let integer = |min: u64, max: u64| json!({ "type": "integer", "minimum": min, "maximum": max });
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match key.kind {
        Kind::Bool => vec![json!({ "type": "boolean" })],
        Kind::Count { min, max } => vec![integer(min, max)],
        Kind::Size { min, max } => {
            vec![integer(min, max), text("^\\s*[0-9]+\\s*([bB]|[kKmMgG][iI]?[bB])?\\s*$")]
        }
        Kind::Time { min, max } => {
            vec![integer(min, max), text("^\\s*([0-9]+|([0-9]+\\s*(h|m|s|ms)\\s*)+)\\s*$")]
        }
        Kind::Rate => vec![
            integer(1, super::keys::FASTEST),
            text("^\\s*[0-9]+\\s*([bB]|[kKmMgG][iI]?[bB])?(/s)?(\\s*after\\s.+)?$"),
        ],
        Kind::Address
        | Kind::HeaderName
        | Kind::HeaderValue
        | Kind::Folder
        | Kind::File
        | Kind::ServerName
        | Kind::Host
        | Kind::HostPort { .. }
        | Kind::Store(_)
        | Kind::Text => {
            vec![json!({ "type": "string" })]
        }
        Kind::Choice(words) => vec![json!({ "enum": words })],
        Kind::Methods => vec![
            json!({ "type": "array", "items": { "enum": METHODS }, "minItems": 1 }),
            json!({ "type": "string" }),
        ],
        Kind::UrlPath { .. } => vec![text("^\\s*/")],
        Kind::OneOf(numbers) => vec![json!({ "enum": numbers })],
        Kind::Location => vec![text("^\\s*(/([^/]|$)|[hH][tT][tT][pP][sS]?://)")],
        Kind::CheckName => vec![text("^\\s*[A-Za-z0-9_-]{1,64}\\s*$")],
        Kind::HttpUrl => vec![text("^\\s*[hH][tT][tT][pP][sS]?://")],
        Kind::RedisUrl => vec![text("^\\s*([rR][eE][dD][iI][sS]|[vV][aA][lL][kK][eE][yY])[sS]?://")],
        Kind::RateKey => {
            vec![text("^\\s*([aA]|[hH][eE][aA][dD][eE][rR]\\s*:|[pP][aA][tT][hH]\\s*:)")]
        }
        Kind::Url => vec![text("^\\s*[hH][tT][tT][pP][sS]?://")],
        Kind::Ratio => {
            vec![json!({ "type": "number", "minimum": 0, "maximum": 1 }), json!({ "type": "string" })]
        }
        Kind::Pairs { .. } => {
            vec![json!({ "type": "array", "items": text("=") }), text("^\\s*([nN][oO][nN][eE]\\s*$|.*=|$)")]
        }
        Kind::Words(words) => vec![
            json!({ "type": "array", "items": { "enum": words }, "minItems": 1 }),
            json!({ "type": "string" }),
        ],
        Kind::AnyMethods => vec![
            json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 }),
            json!({ "type": "string" }),
        ],
        Kind::Files => vec![
            json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 }),
            json!({ "type": "string" }),
        ],
        Kind::Algorithms => {
            let known = Algorithm::ALL.map(Algorithm::as_str);
            vec![
                json!({ "type": "array", "items": { "enum": known }, "minItems": 1 }),
                json!({ "type": "string" }),
            ]
        }
        Kind::Upstreams => {
            let url = "([hH][tT][tT][pP][sS]?|[hH]2[cC]?)://";
            let (one, least) = match key.default {
                "" => (text(&format!("^\\s*{url}")), 1),
                _ => (
                    text(&format!("^\\s*({url}|([nN][oO][nN][eE]|[oO][fF][fF]|[fF][aA][lL][sS][eE])?\\s*$)")),
                    0,
                ),
            };
            let items = text(&format!("^\\s*{url}"));
            vec![json!({ "type": "array", "items": items, "minItems": least }), one]
        }
        Kind::Networks | Kind::Hosts => {
            vec![json!({ "type": "array", "items": { "type": "string" } }), json!({ "type": "string" })]
        }
    }
}

fn default(key: &Key) -> Json {
    match key.kind {
        Kind::Bool => json!(key.default == "true"),
        Kind::Count { .. } | Kind::OneOf(_) => {
            key.default.parse::<u64>().map_or(json!(key.default), |number| json!(number))
        }
        Kind::Networks | Kind::Hosts | Kind::Upstreams if key.auto.is_none() => json!([]),
        Kind::Methods | Kind::Algorithms | Kind::Words(_) => {
            json!(key.default.split(' ').collect::<Vec<_>>())
        }
        Kind::Pairs { .. } => json!([]),
        _ => json!(key.default),
    }
}

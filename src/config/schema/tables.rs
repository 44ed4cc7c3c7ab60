//! The schema of `[[route]]` and `[[check]]`.

use serde_json::{Map, Value as Json, json};

use super::property;
use crate::config::keys::Key;
use crate::config::routes::names::{self, Name, Switch, Takes, TargetKind};

/// `[[route]]`: one form for each target, each with what means something there.
pub(super) fn route() -> Json {
    let names = names::route();
    let forms: Vec<Json> = TargetKind::ALL
        .into_iter()
        .map(|target| {
            let with_target = names.iter().filter(|name| name.targets.contains(&target));
            let properties: Map<String, Json> =
                with_target.map(|name| (name.name.to_owned(), reference(name))).collect();
            json!({
                "title": format!("A route with {}", target.name()),
                "properties": properties,
                "required": ["path", target.name()],
                "additionalProperties": false,
            })
        })
        .collect();
    json!({
        "type": "array",
        "description": "What answers which paths of which hosts.",
        "items": { "type": "object", "oneOf": forms },
    })
}

/// What every form of a route refers to.
pub(super) fn definitions() -> Json {
    let names = names::route();
    let definition = |name: &Name| (name.name.to_owned(), definition(name));
    Json::Object(names.iter().map(definition).collect())
}

fn reference(name: &Name) -> Json {
    json!({ "$ref": format!("#/$defs/{}", name.name) })
}

fn definition(name: &Name) -> Json {
    match &name.takes {
        Takes::Own(row) => property(row),
        Takes::Override(row) => inherited(row),
        Takes::OwnTable(rows) => table(rows.iter().map(|row| (row, property(row)))),
        Takes::Section { rows, switch } => {
            let table = table(rows.iter().map(|row| (*row, inherited(row))));
            let switch = match switch {
                Switch::Bool(_) => json!({ "type": "boolean" }),
                Switch::Off(_) => json!({ "enum": ["off", "none", "false", false, 0] }),
            };
            json!({ "description": format!("In place of [{}].", name.name), "anyOf": [table, switch] })
        }
    }
}

/// What a route leaves out is not the default of the table, but what holds for all.
fn inherited(row: &Key) -> Json {
    let mut property = property(row);
    if let Some(object) = property.as_object_mut() {
        object.remove("default");
        let about = object.get("description").and_then(Json::as_str).unwrap_or_default();
        let about = format!("In place of {}. {about}", row.path);
        object.insert("description".to_owned(), json!(about));
    }
    property
}

/// A table of rows. Of all of them, a redirect alone has one that has to be there.
fn table<'a>(rows: impl Iterator<Item = (&'a Key, Json)>) -> Json {
    let mut required = Vec::new();
    let mut properties = Map::new();
    for (row, property) in rows {
        if row.path == "redirect.to" {
            required.push(row.name());
        }
        properties.insert(row.name().to_owned(), property);
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// `[[check]]`: exactly one thing to ask.
pub(super) fn check() -> Json {
    let properties: Map<String, Json> =
        names::CHECK.iter().map(|row| (row.name().to_owned(), property(row))).collect();
    let probes: Vec<Json> = names::PROBES.iter().map(|probe| json!({ "required": [probe] })).collect();
    json!({
        "type": "array",
        "description": "What /ready depends on.",
        "items": {
            "type": "object",
            "properties": properties,
            "required": ["name"],
            "oneOf": probes,
            "additionalProperties": false,
        },
    })
}

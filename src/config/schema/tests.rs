//! What the schema takes and refuses of routes and checks, by as much of a validator as it needs:
//! patterns are left to real ones.

use serde_json::{Value as Json, json};

use super::schema;

fn find<'a>(root: &'a Json, reference: &str) -> &'a Json {
    root.pointer(reference.trim_start_matches('#')).unwrap()
}

fn valid(root: &Json, schema: &Json, value: &Json) -> bool {
    let rules = schema.as_object().unwrap();
    rules.iter().all(|(rule, wanted)| match rule.as_str() {
        "$ref" => valid(root, find(root, wanted.as_str().unwrap()), value),
        "type" => match wanted.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64(),
            other => panic!("{other}"),
        },
        "enum" => wanted.as_array().unwrap().contains(value),
        "const" => wanted == value,
        "minimum" => value.as_u64() >= wanted.as_u64(),
        "maximum" => value.as_u64() <= wanted.as_u64(),
        "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().unwrap()),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| valid(root, wanted, item))),
        "anyOf" => wanted.as_array().unwrap().iter().any(|form| valid(root, form, value)),
        "oneOf" => wanted.as_array().unwrap().iter().filter(|form| valid(root, form, value)).count() == 1,
        "required" => {
            wanted.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
        }
        "properties" => value.as_object().is_none_or(|object| {
            object.iter().all(|(name, value)| wanted.get(name).is_none_or(|rule| valid(root, rule, value)))
        }),
        "additionalProperties" => {
            let known = rules.get("properties").and_then(Json::as_object);
            let known = |name: &String| known.is_some_and(|known| known.contains_key(name));
            value.as_object().is_none_or(|object| object.keys().all(known))
        }
        "$schema" | "$defs" | "title" | "description" | "default" | "pattern" => true,
        other => panic!("this validator does not know {other}"),
    })
}

#[track_caller]
fn assert_taken(taken: bool, value: Json) {
    let root: Json = serde_json::from_str(&schema()).unwrap();
    assert_eq!(valid(&root, &root, &value), taken, "{value}");
}

#[test]
fn routes_are_taken_that_the_server_takes() {
    for route in [
        json!({ "path": "/", "upstream": "http://app:8080" }),
        json!({ "path": "/", "upstream": ["http://a", "h2c://b"], "connect_timeout": "1s", "retries": 0 }),
        json!({ "path": "/", "host": "*.example.com", "root": "./public", "fallback": "/index.html" }),
        json!({ "path": "/", "redirect": { "to": "/x", "status": 301, "keep_path": true } }),
        json!({ "path": "/", "respond": {}, "rate_limit": "off", "compression": true }),
        json!({ "path": "/", "respond": { "status": 404, "body": "x" }, "rate_limit": { "max_requests": 1 } }),
        json!({ "path": "/", "upstream": "http://a", "methods": ["PROPFIND"], "security_headers": false }),
        json!({ "path": "/", "upstream": "http://a", "eject_after": "off", "compression": { "min_size": 0 } }),
    ] {
        assert_taken(true, json!({ "route": [route] }));
    }
    assert_taken(true, json!({ "server": { "proxy_protocol": "required" }, "route": [], "check": [] }));
}

#[test]
fn routes_are_refused_that_the_server_refuses() {
    for route in [
        json!({ "upstream": "http://app:8080" }),
        json!({ "path": "/" }),
        json!({ "path": "/", "upstream": [] }),
        json!({ "path": "/", "upstream": "http://a", "root": "." }),
        json!({ "path": "/", "upstream": "http://a", "fallback": "/index.html" }),
        json!({ "path": "/", "upstream": "http://a", "retries": 11 }),
        json!({ "path": "/", "upstream": "http://a", "conect_timeout": 1 }),
        json!({ "path": "/", "upstream": "http://a", "max_connections": 1 }),
        json!({ "path": "/", "upstream": "http://a", "compression": { "max_concurrent": 1 } }),
        json!({ "path": "/", "upstream": "http://a", "rate_limit": true }),
        json!({ "path": "/", "redirect": { "to": "/x", "status": 300 } }),
        json!({ "path": "/", "redirect": { "status": 301 } }),
        json!({ "path": "/", "redirect": { "to": "/x" }, "connect_timeout": 1 }),
        json!({ "path": "/", "respond": { "stat": 200 } }),
        json!({ "path": "/", "respond": {}, "url": "http://a" }),
    ] {
        assert_taken(false, json!({ "route": [route] }));
    }
    assert_taken(false, json!({ "route": { "path": "/", "respond": {} } }));
}

#[test]
fn a_check_asks_one_thing() {
    for (taken, check) in [
        (true, json!({ "name": "a", "tcp": "a:1" })),
        (true, json!({ "name": "a", "http": "http://a/", "interval": "1s", "timeout": 500, "fall": 1 })),
        (false, json!({ "name": "a" })),
        (false, json!({ "tcp": "a:1" })),
        (false, json!({ "name": "a", "tcp": "a:1", "redis": "a" })),
        (false, json!({ "name": "a", "tcp": "a:1", "rise": 0 })),
        (false, json!({ "name": "a", "tcp": "a:1", "retries": 1 })),
    ] {
        assert_taken(taken, json!({ "check": [check] }));
    }
}

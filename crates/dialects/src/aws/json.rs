//! Strict reading of control-plane bodies: bounded depth, no name twice in an object, valid UTF-8. Members that an operation
//! doesn't know are ignored, as the service ignores them. An invocation's payload never comes through here.

use super::fault::WireError;
use model::limits::JSON_DEPTH_MAX;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

struct Strict(usize);

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl Strict {
    fn deeper<E: Error>(&self) -> Result<usize, E> {
        if self.0 >= JSON_DEPTH_MAX { Err(E::custom(format!("nested deeper than {JSON_DEPTH_MAX}"))) } else { Ok(self.0 + 1) }
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(Strict(depth))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format!("the name {name:?} stands twice in one object")));
            }
            let value = from.next_value_seed(Strict(depth))?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

pub fn value(body: &[u8]) -> Result<Value, WireError> {
    let mut from = serde_json::Deserializer::from_slice(body);
    let read = Strict(0).deserialize(&mut from).and_then(|v| from.end().map(|()| v));
    read.map_err(|e| WireError::serialization(format!("the request body is not what this operation takes: {e}")))
}

/// A body as an operation's members. An empty body is an object without members; `null` members count as absent.
pub fn members<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    let mut value = if body.iter().all(u8::is_ascii_whitespace) { Value::Object(Map::new()) } else { value(body)? };
    match &mut value {
        Value::Object(object) => object.retain(|_, v| !v.is_null()),
        _ => return Err(WireError::serialization("the request body must be a JSON object")),
    }
    serde_json::from_value(value).map_err(|e| WireError::serialization(format!("a member has another type than declared: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_documents_are_refused_and_plain_ones_keep_their_order() {
        assert_eq!(value(br#"{"b":1,"a":[true,null,"x"]}"#).unwrap().to_string(), r#"{"b":1,"a":[true,null,"x"]}"#);
        let deep = "[".repeat(JSON_DEPTH_MAX + 1) + &"]".repeat(JSON_DEPTH_MAX + 1);
        let endless = "[".repeat(1_000_000);
        for bad in [
            &br#"{"a":1,"a":2}"#[..],
            b"{} x",
            b"\xff",
            br#"{"a":"\ud800"}"#,
            deep.as_bytes(),
            endless.as_bytes(),
            b"{\"a\":\"\xc3\"}",
        ] {
            assert_eq!(
                value(bad).unwrap_err().code,
                "SerializationException",
                "{:?}",
                String::from_utf8_lossy(&bad[..bad.len().min(40)])
            );
        }
        #[derive(serde::Deserialize, Debug)]
        #[allow(dead_code)]
        struct Members {
            n: Option<u32>,
        }
        assert!(members::<Members>(b"").unwrap().n.is_none());
        assert!(members::<Members>(br#"{"n":null,"other":{}}"#).unwrap().n.is_none());
        assert!(members::<Members>(br#"{"n":"1"}"#).is_err());
        assert!(members::<Members>(b"[]").is_err());
    }
}

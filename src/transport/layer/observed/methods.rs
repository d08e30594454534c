//! The names of all methods that are served, over gRPC and over HTTP: a name that anybody could make up is shown to nobody.

use std::{collections::HashMap, sync::Arc};

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// What stands for a name that is none of ours (OpenTelemetry's conventions for RPC).
pub(super) const OTHER: &str = "_OTHER";

/// The methods of gRPC, as `package.Service/Method`.
#[derive(Clone, Debug)]
pub struct Methods {
    known: Arc<HashMap<Box<str>, Arc<str>>>,
    other: Arc<str>,
}

impl Methods {
    /// All methods of the services in these descriptor sets. A set that cannot be read has none.
    pub fn of(descriptor_sets: &[&[u8]]) -> Self {
        let sets = descriptor_sets.iter().filter_map(|bytes| FileDescriptorSet::decode(*bytes).ok());
        let mut known = HashMap::new();
        for file in sets.flat_map(|set| set.file) {
            let package = file.package().to_owned();
            for service in &file.service {
                for method in &service.method {
                    let name = format!("{package}.{}/{}", service.name(), method.name());
                    known.insert(format!("/{name}").into(), name.into());
                }
            }
        }
        Self { known: Arc::new(known), other: OTHER.into() }
    }

    /// The name of the method with this path; `_OTHER` when there is none.
    pub(super) fn named(&self, path: &str) -> Arc<str> {
        Arc::clone(self.known.get(path).unwrap_or(&self.other))
    }
}

/// The calls that have one route of HTTP together, each by its name.
#[derive(Clone, Debug)]
pub struct Calls(Arc<HashMap<Box<str>, Arc<str>>>);

impl Calls {
    /// The methods in these descriptor sets, each with the path of this prefix and its own name.
    pub fn below(prefix: &str, descriptor_sets: &[&[u8]]) -> Self {
        let methods = Methods::of(descriptor_sets);
        let names = methods.known.values().filter_map(|name| name.rsplit('/').next());
        let path = |name: &str| format!("{prefix}{name}");
        Self(Arc::new(names.map(|name| (path(name).into(), path(name).into())).collect()))
    }

    /// What the route of a path is called: the path itself where that is a call's, else the route as the router has it, with
    /// names in place of what a sender chose.
    pub(super) fn route(&self, path: &str, matched: &str) -> Arc<str> {
        self.0.get(path).map_or_else(|| matched.into(), Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ENVOY_DESCRIPTOR_SET, FILE_DESCRIPTOR_SET};

    #[test]
    fn only_methods_that_are_served_have_names() {
        let methods = Methods::of(&[FILE_DESCRIPTOR_SET, ENVOY_DESCRIPTOR_SET, b"nonsense"]);
        for name in ["hallpass.v1.AuthorizationService/Authorize", "envoy.service.auth.v3.Authorization/Check"] {
            assert_eq!(&*methods.named(&format!("/{name}")), name);
        }
        for other in
            ["", "/", "/hallpass.v1.AuthorizationService", "/hallpass.v1.AuthorizationService/authorize", "/a/b"]
        {
            assert_eq!(&*methods.named(other), OTHER, "{other}");
        }
    }

    #[test]
    fn a_route_is_shown_without_what_its_sender_chose() {
        let calls = Calls::below("/v1/", &[FILE_DESCRIPTOR_SET]);
        for (path, matched, route) in [
            ("/", "/", "/"),
            ("/edfi/oauth/token", "/{realm}/oauth/token", "/{realm}/oauth/token"),
            ("/v1/Authorize", "/v1/{rpc}", "/v1/Authorize"),
            ("/v1/604821", "/v1/{rpc}", "/v1/{rpc}"),
        ] {
            assert_eq!(&*calls.route(path, matched), route);
        }
    }
}

//! The names of all methods that are served over gRPC, and the words of paths: a name that anybody could make up is shown
//! to nobody.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

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

/// The most segments of a path that are told apart.
const SEGMENTS_MAX: usize = 8;

/// The words of which the paths of HTTP are made.
#[derive(Clone, Debug)]
pub struct PathWords(Arc<HashSet<Box<str>>>);

impl PathWords {
    /// These words, and the names of the methods in these descriptor sets.
    pub fn of(words: &[&str], descriptor_sets: &[&[u8]]) -> Self {
        let methods = Methods::of(descriptor_sets);
        let names = methods.known.values().filter_map(|name| name.rsplit('/').next()).map(Box::from);
        Self(Arc::new(words.iter().map(|word| Box::from(*word)).chain(names).collect()))
    }

    /// The path with `{}` for every segment that is none of the words, such as the name of a realm.
    pub(super) fn template(&self, path: &str) -> Arc<str> {
        if path == "/" {
            return path.into();
        }
        let mut template = String::with_capacity(path.len());
        for segment in path.split('/').skip(1).take(SEGMENTS_MAX) {
            template.push('/');
            template.push_str(if self.0.contains(segment) { segment } else { "{}" });
        }
        template.into()
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
    fn a_path_is_shown_without_what_its_sender_chose() {
        let words = PathWords::of(&["oauth", "token", "v1"], &[FILE_DESCRIPTOR_SET]);
        for (path, template) in [
            ("/", "/"),
            ("/edfi/oauth/token", "/{}/oauth/token"),
            ("/v1/Authorize", "/v1/Authorize"),
            ("/v1/604821", "/v1/{}"),
            ("//oauth", "/{}/oauth"),
            ("", ""),
            ("/a/b/c/d/e/f/g/h/i/j", "/{}/{}/{}/{}/{}/{}/{}/{}"),
        ] {
            assert_eq!(&*words.template(path), template);
        }
    }
}

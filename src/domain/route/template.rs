//! Paths with parameters, `/students/{id}`, and which of many a request's path fits.

use std::{collections::BTreeMap, sync::Arc};

use super::path;

/// A path with parameters, each of which is a segment of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) segments: Vec<Segment>,
}

/// A segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// This text, decoded.
    Literal(Arc<str>),
    /// Any text that is not empty.
    Parameter(Arc<str>),
}

impl Template {
    /// Takes a path apart.
    ///
    /// # Errors
    /// A sentence: what no request's path could be, a parameter that is a part of a segment only, or one that comes twice.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fault = |what: &str| Err(format!("path `{text}` {what}"));
        let Some(below) = text.strip_prefix('/') else { return fault("does not begin with `/`") };
        let mut segments: Vec<Segment> = Vec::new();
        let mut parts = below.split('/').peekable();
        while let Some(part) = parts.next().filter(|_| !below.is_empty()) {
            if part.is_empty() && parts.peek().is_some() {
                return fault("holds an empty segment");
            }
            let name = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let name = name.filter(|name| !name.is_empty() && !name.contains(['{', '}']));
            if let Some(name) = name {
                if segments.iter().any(|other| matches!(other, Segment::Parameter(other) if **other == *name)) {
                    return fault(&format!("has the parameter `{name}` twice"));
                }
                segments.push(Segment::Parameter(name.into()));
            } else if part.contains(['{', '}']) {
                let what = format!("has the segment `{part}`, expected parameters that are segments of their own");
                return fault(&what);
            } else if part.contains(['?', '#']) {
                return fault("holds a query or a fragment");
            } else {
                match path::segment(part) {
                    Ok(literal) => segments.push(Segment::Literal(literal.into())),
                    Err(error) => return fault(&format!("fits no request: {error}")),
                }
            }
        }
        Ok(Self { segments })
    }

    /// The same below these segments.
    pub(super) fn below(self, base: &[Segment]) -> Self {
        let base = base.iter().cloned();
        // Of a base alone the path `/` is the base itself.
        Self { segments: base.chain(self.segments).collect() }
    }

    /// Which segment a parameter is, counted from 0.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.segments.iter().position(|segment| matches!(segment, Segment::Parameter(own) if **own == *name))
    }

    /// The names of its parameters, in order.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &Arc<str>> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name),
            Segment::Literal(_) => None,
        })
    }

    /// A path of these segments fits.
    pub(super) fn fits(&self, path: &[String]) -> bool {
        let fits = |(own, other): (&Segment, &String)| match own {
            Segment::Literal(text) => **text == **other,
            Segment::Parameter(_) => !other.is_empty(),
        };
        self.segments.len() == path.len() && self.segments.iter().zip(path).all(fits)
    }
}

/// Templates by their segments, with what each method does there.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    literals: BTreeMap<Arc<str>, usize>,
    parameter: Option<usize>,
    /// Methods, with the number of what each does.
    ends: BTreeMap<Arc<str>, usize>,
}

/// What a path fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Nothing.
    Nothing,
    /// This one; of several, one that is more literal than every other in every segment.
    One(usize),
    /// Several of which none is more literal than every other: servers differ in which they take.
    Several,
}

/// A template that fits, and which of its segments are literal.
struct Candidate {
    number: usize,
    is_literal: Vec<bool>,
}

/// More templates than these that fit one path cannot be told apart any more.
const CANDIDATES_MAX: usize = 64;

impl Tree {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Adds what a method does at a template.
    ///
    /// # Errors
    /// The number of what it does already at a template of the same shape.
    pub(super) fn insert(&mut self, method: &Arc<str>, template: &Template, number: usize) -> Result<(), usize> {
        let mut at = 0;
        for segment in &template.segments {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return Ok(()) };
            at = match segment {
                Segment::Literal(text) => *node.literals.entry(Arc::clone(text)).or_insert(next),
                Segment::Parameter(_) => *node.parameter.get_or_insert(next),
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        let Some(node) = self.nodes.get_mut(at) else { return Ok(()) };
        if let Some(other) = node.ends.get(method) {
            return Err(*other);
        }
        node.ends.insert(Arc::clone(method), number);
        Ok(())
    }

    /// What a method does at a path.
    pub(super) fn find(&self, method: &str, path: &[String]) -> Fit {
        let mut candidates = Vec::new();
        self.gather(0, method, path, &mut Vec::new(), &mut candidates);
        if candidates.len() >= CANDIDATES_MAX {
            return Fit::Several;
        }
        let rules = |one: &Candidate, other: &Candidate| {
            one.is_literal.iter().zip(&other.is_literal).all(|(own, other)| own >= other)
        };
        let best = candidates.iter().find(|one| candidates.iter().all(|other| rules(one, other)));
        match best {
            Some(best) => Fit::One(best.number),
            None if candidates.is_empty() => Fit::Nothing,
            None => Fit::Several,
        }
    }

    /// Each node is visited once at most, because one way alone leads to it.
    fn gather(&self, at: usize, method: &str, path: &[String], taken: &mut Vec<bool>, found: &mut Vec<Candidate>) {
        let Some(node) = self.nodes.get(at).filter(|_| found.len() < CANDIDATES_MAX) else { return };
        let Some((first, rest)) = path.split_first() else {
            let end = node.ends.get(method);
            found.extend(end.map(|number| Candidate { number: *number, is_literal: taken.clone() }));
            return;
        };
        let parameter = node.parameter.filter(|_| !first.is_empty());
        for (next, is_literal) in [(node.literals.get(first.as_str()).copied(), true), (parameter, false)] {
            if let Some(next) = next {
                taken.push(is_literal);
                self.gather(next, method, rest, taken, found);
                taken.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(templates: &[&str]) -> Tree {
        let mut tree = Tree::new();
        for (number, text) in templates.iter().enumerate() {
            tree.insert(&"GET".into(), &Template::parse(text).unwrap(), number).unwrap();
        }
        tree
    }

    fn segments(path: &str) -> Vec<String> {
        path::Path::read(path.as_bytes()).unwrap().segments().to_vec()
    }

    #[test]
    fn a_literal_goes_before_a_parameter() {
        let templates = ["/", "/a", "/a/{x}", "/a/b", "/a/{x}/c", "/{y}/b/c/d", "/a/", "/caf%C3%A9"];
        for (path, expected) in [
            ("/", Fit::One(0)),
            ("/a", Fit::One(1)),
            ("/a/z", Fit::One(2)),
            ("/a/b", Fit::One(3)),
            ("/a/b/c", Fit::One(4)),
            ("/a/b/c/d", Fit::One(5)),
            ("/a/", Fit::One(6)),
            ("/caf%c3%a9", Fit::One(7)),
            ("/A", Fit::Nothing),
            ("/b", Fit::Nothing),
            ("/a/b/", Fit::Nothing),
            ("/a/b/c/d/e", Fit::Nothing),
        ] {
            assert_eq!(tree(&templates).find("GET", &segments(path)), expected, "{path}");
        }
        assert_eq!(tree(&templates).find("get", &segments("/a")), Fit::Nothing, "methods are capital letters");
    }

    #[test]
    fn a_path_that_fits_two_templates_equally_fits_none() {
        let tree = tree(&["/{kind}/me", "/users/{id}", "/users/{id}/x"]);
        assert_eq!(tree.find("GET", &segments("/users/me")), Fit::Several);
        assert_eq!(tree.find("GET", &segments("/users/7")), Fit::One(1));
        assert_eq!(tree.find("GET", &segments("/groups/me")), Fit::One(0));
    }

    #[test]
    fn an_empty_segment_is_no_value_of_a_parameter() {
        assert_eq!(tree(&["/a/{x}"]).find("GET", &segments("/a/")), Fit::Nothing);
        assert!(!Template::parse("/a/{x}").unwrap().fits(&segments("/a/")));
    }

    #[test]
    fn two_templates_of_one_shape_are_told() {
        let mut tree = tree(&["/a/{x}"]);
        let same = Template::parse("/a/{y}").unwrap();
        assert_eq!(tree.insert(&"GET".into(), &same, 1), Err(0));
        assert_eq!(tree.insert(&"PUT".into(), &same, 1), Ok(()));
    }

    #[test]
    fn a_template_that_no_path_could_fit_is_told_why() {
        for (text, words) in [
            ("a", "does not begin"),
            ("/a//b", "an empty segment"),
            ("/a/{id}.json", "`{id}.json`"),
            ("/a/report({id})", "segments of their own"),
            ("/a/{id", "segments of their own"),
            ("/a/{}", "segments of their own"),
            ("/a/{b}{c}", "segments of their own"),
            ("/{id}/b/{id}", "`id` twice"),
            ("/a?b=c", "a query"),
            ("/a/../b", "dots"),
            ("/a%2fb", "slash"),
            ("/a;b", "`;`"),
            ("/a%3fb", "an encoded `?`"),
            ("/100%25", "encoded twice"),
        ] {
            let message = Template::parse(text).unwrap_err();
            assert!(message.contains(words), "{text}: {message}");
        }
    }

    #[test]
    fn deep_trees_of_parameters_are_searched_once() {
        let mut tree = Tree::new();
        for number in 0..4_096_usize {
            let parts =
                (0..12).map(|bit| if number >> bit & 1 == 1 { "/a".to_owned() } else { format!("/{{p{bit}}}") });
            let template = Template::parse(&parts.collect::<String>()).unwrap();
            tree.insert(&"GET".into(), &template, number).unwrap();
        }
        assert_eq!(tree.find("GET", &segments(&"/a".repeat(12))), Fit::Several, "more than can be told apart");
        assert_eq!(tree.find("GET", &segments(&"/b".repeat(12))), Fit::One(0));
    }
}

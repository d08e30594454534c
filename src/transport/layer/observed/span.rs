//! What a span says of a request (OpenTelemetry's conventions for RPC and for HTTP): which call it was and what came of it;
//! nothing that the request brought but the address that it came from.

use std::{borrow::Cow, sync::Arc};

use super::{
    answer::{Ending, Status, grpc_word},
    methods::OTHER,
};
use crate::app::ports::trace::{Decided, Decisions, Trace, Value};

pub(super) fn tell(ending: &Ending, trace: &Trace, status: Status) {
    let mut attributes = Vec::with_capacity(16);
    let method = text(ending.named.method.to_string());
    let name = match status {
        Status::Grpc(code) => {
            attributes.push(("rpc.system.name", text("grpc")));
            attributes.push(("rpc.method", method));
            attributes.push(("rpc.status_code", text(grpc_word(code))));
            Arc::clone(&ending.named.method)
        }
        Status::Http(code) => {
            attributes.push(("http.request.method", method));
            attributes.push(("http.response.status_code", Value::Number(code.as_u16().into())));
            attributes.extend(ending.named.route.as_ref().map(|route| ("http.route", text(route.to_string()))));
            let route = ending.named.route.as_deref().unwrap_or(OTHER);
            format!("{} {route}", ending.named.method).into()
        }
    };
    if let Some(address) = ending.shared.address {
        // An address that stands for all of the machine's says nothing of where the call came to.
        let named = Some(address.ip()).filter(|ip| !ip.is_unspecified());
        attributes.extend(named.map(|ip| ("server.address", text(ip.to_string()))));
        attributes.push(("server.port", Value::Number(address.port().into())));
    }
    if let Some(peer) = ending.peer {
        attributes.push(("client.address", text(peer.ip().to_string())));
        attributes.push(("network.peer.address", text(peer.ip().to_string())));
        attributes.push(("network.peer.port", Value::Number(peer.port().into())));
    }
    attributes.extend(ending.request.caller().map(|caller| ("authz.caller", text(caller.to_owned()))));
    decided(&ending.request.decided(), &mut attributes);
    let error = status.is_error().then(|| match status {
        Status::Grpc(code) => Cow::Borrowed(grpc_word(code)),
        Status::Http(code) => Cow::Owned(code.as_str().to_owned()),
    });
    attributes.extend(error.clone().map(|error| ("error.type", Value::Text(error))));
    trace.done(name, attributes, error);
}

fn decided(Decisions { about, count, allows }: &Decisions, attributes: &mut Vec<(&'static str, Value)>) {
    if let Some(Decided { realm, is_allowed, reason, policy_version, adapter, is_of_search: _ }) = about {
        attributes.extend([
            ("authz.realm", text(realm.to_string())),
            ("authz.decision", text(if *is_allowed { "ALLOW" } else { "DENY" })),
            ("authz.reason", text(reason.to_string())),
            ("authz.policy_version", text(policy_version.to_string())),
            ("authz.adapter", text(*adapter)),
        ]);
    }
    if *count > 1 {
        attributes.push(("authz.decisions", Value::Number((*count).into())));
        attributes.push(("authz.allows", Value::Number((*allows).into())));
    }
}

fn text(text: impl Into<Cow<'static, str>>) -> Value {
    Value::Text(text.into())
}

//! What comes with every call beside its message: the request id and the deadline.

use tokio::time::Instant;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

use super::status;
use crate::{
    app::{
        App,
        caller::{Presented, Right},
    },
    domain::adapter::Adapter,
    transport::layer::{caller, deadline::Until},
};

/// The metadata that carries the caller's own id of a request, there and back.
const REQUEST_ID: &str = "x-request-id";
const REQUEST_ID_BYTES_MAX: usize = 128;

/// A call under way.
pub(super) struct Call {
    request_id: Option<MetadataValue<Ascii>>,
    until: Option<Instant>,
}

impl Call {
    /// Reads the metadata of a call. What is malformed counts as not sent.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let metadata = request.metadata();
        let is_printable = |id: &&MetadataValue<Ascii>| {
            (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
                && id.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte))
        };
        let Until(until) = request.extensions().get().copied().unwrap_or_default();
        Self { request_id: metadata.get(REQUEST_ID).filter(is_printable).cloned(), until }
    }

    /// The caller's id of this request; empty if none was sent.
    pub(super) fn request_id(&self) -> &str {
        self.request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default()
    }

    /// When all of the answer must be there, if the caller or the service says so. Whoever answers with one message need not
    /// look: it is given up from outside.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Lets the call through when its caller may make it in the realm of this name.
    pub(super) async fn may(&self, app: &App, presented: &Presented, realm: &str, right: Right) -> Result<(), Status> {
        let asked = app.may_ask(presented, realm, right, self.request_id()).await;
        asked.and_then(|caller| app.allow_rate(&caller, realm)).map_err(|error| status::of(&error, realm))
    }

    /// Does the work, and sends the request id back with the answer.
    pub(super) async fn answer<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<Response<T>, Status> {
        match work.await {
            Ok(message) => {
                let mut response = Response::new(message);
                self.echo(response.metadata_mut());
                Ok(response)
            }
            Err(mut status) => {
                self.echo(status.metadata_mut());
                Err(status)
            }
        }
    }

    fn echo(&self, metadata: &mut MetadataMap) {
        if let Some(id) = &self.request_id {
            metadata.insert(REQUEST_ID, id.clone());
        }
    }
}

/// What a call brings to show who makes it.
pub(super) fn presented<T>(request: &Request<T>) -> Presented {
    caller::presented(request.metadata().as_ref(), request.extensions())
}

/// The way by which the call came: gRPC, unless an adapter within this process says otherwise.
pub(super) fn adapter<T>(request: &Request<T>) -> Adapter {
    request.extensions().get().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_once_with_the_word_bearer() {
        for (given, expected) in [
            (&["Bearer secret"][..], Some("secret")),
            (&["bearer  secret "], Some("secret")),
            (&["Basic secret"], None),
            (&["secret"], None),
            (&["Bearer "], None),
            (&[], None),
            (&["Bearer secret", "Bearer other"], None),
            (&["Bearer secret", "Bearer secret"], None),
        ] {
            let mut request = Request::new(());
            for value in given {
                request.metadata_mut().append("authorization", value.parse().unwrap());
            }
            let presented = presented(&request);
            assert_eq!(presented.key.as_deref(), expected, "{given:?}");
            assert!(!presented.is_local, "a call from nowhere");
            assert!(!format!("{presented:?}").contains("secret"));
        }
    }

    #[test]
    fn a_request_id_that_is_not_printable_or_too_long_counts_as_none() {
        for (given, expected) in [
            (Some(&b"request 7"[..]), "request 7"),
            (None, ""),
            (Some(b""), ""),
            (Some("é".as_bytes()), ""),
            (Some(&[b'x'; 129]), ""),
        ] {
            let mut request = Request::new(());
            if let Some(id) = given {
                request.metadata_mut().insert(REQUEST_ID, MetadataValue::try_from(id).unwrap());
            }
            assert_eq!(Call::of(&request).request_id(), expected);
        }
    }
}

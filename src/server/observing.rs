//! What watches the requests of all listeners, and hands their traces on.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;

use crate::{
    app::ports::{Clock, meter::Meter, trace::Tracer},
    config::Config,
    metrics::edges,
    proto::{ENVOY_DESCRIPTOR_SET, FILE_DESCRIPTOR_SET},
    provider::clock::SystemClock,
    telemetry::otlp::Traces,
    transport::{
        http::json,
        layer::observed::{Calls, Methods, Observed, Spoken},
    },
};

/// Watches requests, and has their traces handed on where a collector is configured.
#[derive(Debug)]
pub(super) struct Observing {
    traces: Option<Traces>,
    tracer: Option<Arc<Tracer>>,
    methods: Methods,
    calls: Calls,
    meter: Arc<dyn Meter>,
}

impl Observing {
    /// Begins to hand traces on, if that is configured. `meter` counts calls.
    ///
    /// # Errors
    /// Certificates of the collector's authorities that cannot be read.
    pub(super) fn start(config: &Config, meter: Arc<dyn Meter>) -> Result<Self> {
        let traces = config.tracing.as_ref().map(Traces::start).transpose()?;
        let tracer = config.tracing.as_ref().zip(traces.as_ref()).map(|(options, traces)| {
            let sink = Arc::clone(traces.queue()) as Arc<_>;
            Arc::new(Tracer::new(sink, Arc::new(SystemClock), options.ratio))
        });
        let sets = [
            FILE_DESCRIPTOR_SET,
            ENVOY_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let (methods, calls) = (Methods::of(&sets), Calls::below(json::PREFIX, &[FILE_DESCRIPTOR_SET]));
        if let Some(traces) = &traces {
            let queue = Arc::clone(traces.queue());
            meter.watch(Box::new(move || vec![edges::of_traces(&queue)]));
        }
        Ok(Self { traces, tracer, methods, calls, meter })
    }

    /// What watches the gRPC listener with this address.
    pub(super) fn grpc(&self, address: SocketAddr) -> Observed {
        self.of(Spoken::Grpc(self.methods.clone()), address)
    }

    /// What watches the HTTP listener with this address.
    pub(super) fn http(&self, address: SocketAddr) -> Observed {
        self.of(Spoken::Http(self.calls.clone()), address)
    }

    fn of(&self, spoken: Spoken, address: SocketAddr) -> Observed {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Observed::new(spoken, Some(address), clock).telling(self.tracer.clone(), Arc::clone(&self.meter))
    }

    /// Hands on the traces that wait.
    pub(super) async fn stop(self) {
        if let Some(traces) = self.traces {
            traces.stop().await;
        }
    }
}

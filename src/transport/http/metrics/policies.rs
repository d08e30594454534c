//! How the policies of realms stand to their files.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use super::seconds;
use crate::{
    app::{App, policies::status::PolicyStatus, ports::CALLERS_REALM, realm_state::LoadedRealm},
    domain::id::PolicyVersion,
};

/// The policies of all realms, and those that judge callers.
#[derive(Debug)]
pub(super) struct Policies(pub(super) Arc<App>);

/// What is read of the policies of one realm.
struct Reading {
    realm: String,
    version: PolicyVersion,
    loaded_at_us: i64,
    status: Arc<PolicyStatus>,
}

impl Reading {
    fn of(realm: &str, loaded: &LoadedRealm, status: Arc<PolicyStatus>) -> Self {
        let (version, loaded_at_us) = (loaded.realm.version.clone(), loaded.loaded_at_us);
        Self { realm: realm.to_owned(), version, loaded_at_us, status }
    }
}

impl Policies {
    fn read(&self) -> Vec<Reading> {
        let realms = self.0.realms().map(|state| {
            let status = state.policy_status();
            Reading::of(state.name.as_str(), &state.policies(), status)
        });
        let callers = self.0.callers().policies();
        let callers = callers.map(|policies| Reading::of(CALLERS_REALM, &policies.loaded(), policies.status()));
        realms.chain(callers).collect()
    }
}

impl Collector for Policies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let readings = self.read();
        let help = "What came of files and kept versions of policies since the start";
        let mut metric = encoder.encode_descriptor("authz_policy_reloads", help, None, MetricType::Counter)?;
        for Reading { realm, status, .. } in &readings {
            let counts = status.counts;
            for (result, count) in
                [("taken", counts.taken), ("refused", counts.refused), ("rolled_back", counts.rolled_back)]
            {
                let labels = [("realm", realm.as_str()), ("result", result)];
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        let mut gauge = |name: &str, help: &str, value: &dyn Fn(&PolicyStatus) -> bool| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for Reading { realm, status, .. } in &readings {
                let value = ConstGauge::new(i64::from(value(status)));
                value.encode(metric.encode_family(&[("realm", realm.as_str())])?)?;
            }
            Ok(())
        };
        let refused = "1 while the files stand refused and the last good policies decide, 0 else";
        gauge("authz_policy_reload_refused", refused, &PolicyStatus::is_refused)?;
        let pinned = "1 while a kept version decides whatever the files are, 0 else";
        gauge("authz_policy_rolled_back", pinned, &|status| status.pin.is_some())?;
        let help = "When the policies that decide were loaded";
        let unit = Some(&Unit::Seconds);
        let mut metric = encoder.encode_descriptor("authz_policy_loaded_timestamp", help, unit, MetricType::Gauge)?;
        for Reading { realm, loaded_at_us, .. } in &readings {
            let value = ConstGauge::new(seconds(*loaded_at_us));
            value.encode(metric.encode_family(&[("realm", realm.as_str())])?)?;
        }
        let help = "How often files of policies were refused since the start";
        let mut metric = encoder.encode_descriptor("authz_policy_load_failures", help, None, MetricType::Counter)?;
        for Reading { realm, status, .. } in &readings {
            let count = ConstCounter::new(status.counts.refused);
            count.encode(metric.encode_family(&[("realm", realm.as_str())])?)?;
        }
        let help = "1, with the digest of the policies that decide";
        let mut metric = encoder.encode_descriptor("authz_policy_version_info", help, None, MetricType::Gauge)?;
        for Reading { realm, version, .. } in &readings {
            let labels = [("realm", realm.as_str()), ("version", &*version.0)];
            ConstGauge::new(1_i64).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

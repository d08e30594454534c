//! What was counted while the service worked, and how old issuers' keys are.

use std::{collections::BTreeMap, fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::seconds;
use crate::app::{
    App,
    ports::meter::{Family, FamilyKind, Sample},
};

/// The numbers of the service's meter.
#[derive(Debug)]
pub(super) struct Counted(pub(super) Arc<App>);

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { name, help, kind, labels, samples } in self.0.meter().families() {
            if samples.is_empty() {
                continue;
            }
            let kind = match kind {
                FamilyKind::Counter => MetricType::Counter,
                FamilyKind::Gauge => MetricType::Gauge,
                FamilyKind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (values, sample) in &samples {
                let labels: Vec<_> = labels.iter().copied().zip(values.iter().map(|value| &**value)).collect();
                if labels.is_empty() {
                    encode(&mut metric, kind, sample)?;
                } else {
                    encode(&mut metric.encode_family(&labels)?, kind, sample)?;
                }
            }
        }
        self.key_ages(&mut encoder)
    }
}

impl Counted {
    /// How old the keys of each issuer are, those of the realm where they are oldest.
    fn key_ages(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut ages: BTreeMap<Arc<str>, i64> = BTreeMap::new();
        for keys in self.0.keys.at_hand() {
            if let Some(age_us) = keys.age_us {
                let oldest = ages.entry(keys.issuer).or_default();
                *oldest = age_us.max(*oldest);
            }
        }
        if ages.is_empty() {
            return Ok(());
        }
        let help = "How long ago an issuer's keys were fetched, those that are in use";
        let mut metric = encoder.encode_descriptor("authz_jwks_age_seconds", help, None, MetricType::Gauge)?;
        for (issuer, age_us) in &ages {
            ConstGauge::new(seconds(*age_us)).encode(metric.encode_family(&[("issuer", &**issuer)])?)?;
        }
        Ok(())
    }
}

fn encode(metric: &mut MetricEncoder<'_>, kind: MetricType, sample: &Sample) -> Result<(), fmt::Error> {
    match (sample, kind) {
        (Sample::Count(count), _) => metric.encode_counter::<NoLabelSet, _, u64>(count, None),
        (Sample::Level(level), MetricType::Counter) => metric.encode_counter::<NoLabelSet, _, u64>(level, None),
        (Sample::Level(level), _) => metric.encode_gauge(level),
        (Sample::Spread { sum, buckets }, _) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
    }
}

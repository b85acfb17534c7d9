//! The test-runner's settings.

use halcyon_domain::duration::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The test-runner's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "TestRunnerSettings")]
pub struct Settings {
    /// How many jobs may compile or map at a time; more wait.
    pub concurrency: usize,
    /// How long a job may take in all.
    pub job_timeout: HumanDuration,
    /// How long the connector's checks may take.
    pub check_timeout: HumanDuration,
    /// How long records are gathered for a sample.
    pub sample_timeout: HumanDuration,
    /// How long the registry may take to hand out secrets.
    pub secrets_timeout: HumanDuration,
    /// The largest payload, in bytes.
    pub max_payload: usize,
    /// The processes that run scripts.
    pub sandbox: halcyon_sandbox::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 4,
            job_timeout: HumanDuration::from_secs(15),
            check_timeout: HumanDuration::from_secs(5),
            sample_timeout: HumanDuration::from_secs(5),
            secrets_timeout: HumanDuration::from_secs(2),
            max_payload: 4 * 1024 * 1024,
            sandbox: halcyon_sandbox::Settings::default(),
        }
    }
}

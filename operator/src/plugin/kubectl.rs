//! kubectl, with which the plugin asks.

use super::{Failure, args::Line};
use adit_api::{Certificate, Complaint, Region};
use kube::ResourceExt;
use serde_json::Value;
use std::{
    io,
    process::{Command, Stdio},
    thread,
};

/// How many relays are asked at once.
const AT_ONCE: usize = 8;
/// How long the API server may take for an answer.
const PATIENCE: &str = "--request-timeout=20s";

/// kubectl failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum KubectlError {
    /// It is not there.
    #[error("cannot start kubectl")]
    Start(#[source] io::Error),
    /// It said that something is wrong.
    #[error("kubectl {0} failed")]
    Failed(String, String),
    /// It printed something else than what was asked for.
    #[error("kubectl {0} printed something else than JSON")]
    Json(String, #[source] serde_json::Error),
}

impl KubectlError {
    /// kubectl's own words.
    pub(super) fn said(&self) -> Option<String> {
        match self {
            Self::Failed(_, said) => Some(said.clone()),
            Self::Start(_) | Self::Json(..) => None,
        }
    }
}

/// kubectl, called with the flags that the plugin was given.
#[derive(Clone, Debug)]
pub(super) struct Kubectl {
    flags: Vec<String>,
    namespace: Option<String>,
}

impl Kubectl {
    pub(super) fn new(line: &Line) -> Self {
        let flag =
            |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("--{name}={value}"));
        let flags = [flag("context", &line.context), flag("kubeconfig", &line.kubeconfig)];
        Self { flags: flags.into_iter().flatten().collect(), namespace: line.namespace.clone() }
    }

    fn run(&self, words: &[&str]) -> Result<String, KubectlError> {
        let mut command = Command::new("kubectl");
        command.args(&self.flags).args(words).stdin(Stdio::null());
        let output = command.output().map_err(KubectlError::Start)?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(KubectlError::Failed(words.first().copied().unwrap_or_default().to_owned(), said))
        }
    }

    fn get(&self, words: &[&str]) -> Result<Value, KubectlError> {
        let text = self.run(&[&["get", "-o", "json", PATIENCE], words].concat())?;
        serde_json::from_str(&text).map_err(|error| KubectlError::Json("get".to_owned(), error))
    }

    fn items(&self, words: &[&str]) -> Result<Vec<Value>, KubectlError> {
        let mut list = self.get(words)?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The Regions of the namespace that was given, or of all.
    pub(super) fn regions(&self) -> Result<Vec<Region>, KubectlError> {
        let place = self.namespace.as_ref().map(|name| format!("--namespace={name}"));
        let place = place.unwrap_or_else(|| "--all-namespaces".to_owned());
        let items = self.items(&["regions.adit.dev", &place])?;
        // One that these types cannot hold is of another version: the others are shown.
        Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
    }

    /// The Certificates of the namespace that was given, or of all.
    pub(super) fn certificates(&self) -> Result<Vec<Certificate>, KubectlError> {
        let place = self.namespace.as_ref().map(|name| format!("--namespace={name}"));
        let place = place.unwrap_or_else(|| "--all-namespaces".to_owned());
        let items = self.items(&["certificates.adit.dev", &place])?;
        Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
    }

    /// The Certificate of this name in the namespace.
    pub(super) fn certificate(&self, name: &str) -> Result<Certificate, KubectlError> {
        let place = self.namespace.as_ref().map(|name| format!("--namespace={name}"));
        let mut words = vec!["get", "certificates.adit.dev", name, "-o", "json", PATIENCE];
        words.extend(place.as_deref());
        let text = self.run(&words)?;
        serde_json::from_str(&text).map_err(|error| KubectlError::Json("get".to_owned(), error))
    }

    /// Gives the Certificate of this name in the namespace an annotation, and returns it.
    pub(super) fn annotate_certificate(&self, name: &str, annotation: &str) -> Result<Certificate, Failure> {
        let place = self.namespace.as_ref().map(|name| format!("--namespace={name}"));
        let mut words = vec!["annotate", "certificates.adit.dev", name, annotation];
        words.extend(["--overwrite", "--field-manager=kubectl-adit", "-o", "json", PATIENCE]);
        words.extend(place.as_deref());
        let text = self.run(&words).map_err(|error| match error.said() {
            Some(said) if said.contains("(NotFound)") => {
                let what = format!("there is no Certificate {name:?} here");
                let next = "kubectl adit certificates, then --namespace NAME".to_owned();
                Failure::usage("no_certificate", what, next)
            }
            _ => error.into(),
        })?;
        serde_json::from_str(&text).map_err(|error| KubectlError::Json("annotate".to_owned(), error).into())
    }

    /// The Complaints of all namespaces, as far as one may see them: where an offender is offline does not depend on where
    /// its Complaint is.
    pub(super) fn complaints_anywhere(&self) -> Result<Vec<Complaint>, KubectlError> {
        let everywhere = Self { namespace: None, ..self.clone() };
        everywhere.complaints().or_else(|_| self.complaints())
    }

    /// The Complaints of the namespace that was given, or of all.
    pub(super) fn complaints(&self) -> Result<Vec<Complaint>, KubectlError> {
        let place = self.namespace.as_ref().map(|name| format!("--namespace={name}"));
        let place = place.unwrap_or_else(|| "--all-namespaces".to_owned());
        let items = self.items(&["complaints.adit.dev", &place])?;
        Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
    }

    /// The Complaint of this name in the namespace.
    pub(super) fn complaint(&self, name: &str) -> Result<Complaint, Failure> {
        let place = self.namespace.as_ref().map(|name| format!("--namespace={name}"));
        let mut words = vec!["complaints.adit.dev", name];
        words.extend(place.as_deref());
        let found = self.get(&words).map_err(|error| match error.said() {
            Some(said) if said.contains("(NotFound)") => {
                let what = format!("there is no Complaint {name:?} here");
                Failure::usage(
                    "no_complaint",
                    what,
                    "kubectl adit complaints, then --namespace NAME".to_owned(),
                )
            }
            _ => error.into(),
        })?;
        serde_json::from_value(found).map_err(|error| KubectlError::Json("get".to_owned(), error).into())
    }

    /// Changes a Complaint; with `dry_run` the API server only says whether it could.
    pub(super) fn patch_complaint(
        &self,
        complaint: &Complaint,
        patch: &Value,
        dry_run: bool,
    ) -> Result<(), KubectlError> {
        let (name, patch) = (complaint.name_any(), patch.to_string());
        let place = format!("--namespace={}", complaint.namespace().unwrap_or_default());
        let mut words = vec!["patch", "complaints.adit.dev", &name, &place, PATIENCE, "--type=merge"];
        words.extend(["--field-manager=kubectl-adit", "--patch", &patch]);
        if dry_run {
            words.push("--dry-run=server");
        }
        self.run(&words).map(drop)
    }

    /// Waits until all relays have confirmed a Complaint, or the time is over; its status says which.
    pub(super) fn wait_enforced(&self, complaint: &Complaint, timeout: &str) {
        let object = format!("complaints.adit.dev/{}", complaint.name_any());
        let place = format!("--namespace={}", complaint.namespace().unwrap_or_default());
        let timeout = format!("--timeout={timeout}");
        let _ = self.run(&["wait", &object, &place, "--for=condition=Enforced", &timeout]);
    }

    /// Who asks, as the API server knows them; empty where it does not say.
    pub(super) fn whoami(&self) -> String {
        let said = self.run(&["auth", "whoami", "-o", "json", PATIENCE]).unwrap_or_default();
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        said["status"]["userInfo"]["username"].as_str().unwrap_or_default().to_owned()
    }

    /// The Region of this name in the namespace, or its only one.
    pub(super) fn region(&self, name: Option<&str>) -> Result<Region, Failure> {
        let place = self.namespace.as_ref().map(|name| format!("--namespace={name}"));
        let mut words = vec!["regions.adit.dev"];
        words.extend(place.as_deref());
        let mut found = self.items(&words)?;
        found.retain(|item| name.is_none_or(|name| item["metadata"]["name"] == name));
        let names: Vec<_> = found.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect();
        if found.len() > 1 {
            let what = format!("there are several Regions here: {}", names.join(", "));
            return Err(Failure::usage("which_region", what, "name the one that is meant".to_owned()));
        }
        let what = name
            .map_or("there is no Region here".to_owned(), |name| format!("there is no Region {name:?} here"));
        let next = "kubectl get regions --all-namespaces, then --namespace NAME".to_owned();
        let region = found.pop().ok_or_else(|| Failure::usage("no_region", what, next))?;
        serde_json::from_value(region).map_err(|error| KubectlError::Json("get".to_owned(), error).into())
    }

    /// The certificate of a Region's development CA, where there is one.
    pub(super) fn authority(&self, region: &Region) -> Option<String> {
        let (namespace, name) = place(region);
        let name = crate::region::ObjectNames(name).ca();
        let map = self.get(&["configmap", &name, "--namespace", namespace]).ok()?;
        map["data"]["ca.crt"].as_str().map(str::to_owned)
    }

    /// The names of a Region's relays that are ready.
    pub(super) fn relays(&self, region: &Region) -> Result<Vec<String>, KubectlError> {
        let (namespace, name) = place(region);
        let labels = crate::objects::pod_labels(name, "relay");
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let pods = self.items(&["pods", "--namespace", namespace, "--selector", &labels.join(",")])?;
        let is_ready = |pod: &Value| {
            let conditions = pod["status"]["conditions"].as_array();
            let ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
            conditions.is_some_and(|all| all.iter().any(ready))
        };
        let name = |pod: &Value| pod["metadata"]["name"].as_str().map(str::to_owned);
        Ok(pods.iter().filter(|pod| is_ready(pod)).filter_map(name).collect())
    }

    /// Runs `adit-relay` in a relay's pod.
    pub(super) fn relay(&self, region: &Region, relay: &str, words: &[&str]) -> Result<String, KubectlError> {
        let (namespace, _) = place(region);
        let exec = ["exec", "--namespace", namespace, relay, "--container", "relay", "--", "adit-relay"];
        self.run(&[&exec[..], words].concat())
    }

    /// What every ready relay of a Region answers, relay by relay.
    pub(super) fn every_relay(
        &self,
        region: &Region,
        words: &[&str],
    ) -> Result<Vec<(String, Value)>, KubectlError> {
        let relays = self.relays(region)?;
        let ask = |relay: &String| {
            let text = self.relay(region, relay, words)?;
            let value = serde_json::from_str(&text);
            value
                .map(|value| (relay.clone(), value))
                .map_err(|error| KubectlError::Json("exec".to_owned(), error))
        };
        let mut answers = Vec::new();
        for some in relays.chunks(AT_ONCE) {
            answers.extend(thread::scope(|scope| {
                let asked: Vec<_> = some.iter().map(|relay| scope.spawn(|| ask(relay))).collect();
                asked.into_iter().map(|one| one.join().expect("asking does not panic")).collect::<Vec<_>>()
            }));
        }
        answers.into_iter().collect()
    }
}

/// A Region's namespace and name.
pub(super) fn place(region: &Region) -> (&str, &str) {
    let metadata = &region.metadata;
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

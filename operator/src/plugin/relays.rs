//! Commands in the pods of relays.

use super::{cluster::Cluster, command_error::CommandError};
use crate::{api_server::call, controller::NamespacedName, objects::pod_selector};
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{AttachParams, AttachedProcess, ListParams},
};
use serde::de::DeserializeOwned;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// Maximum relays that are asked at once.
const MAX_CONCURRENT_RELAYS: usize = 8;
/// Maximum duration of a command in a pod.
const EXEC_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum size of a command's output.
const MAX_OUTPUT_BYTES: u64 = 64 << 20;
/// The container of relays.
const CONTAINER: &str = "relay";

/// Why a command in a pod failed.
#[derive(Debug, thiserror::Error)]
enum ExecError {
    /// The connection failed.
    #[error("the connection to the pod failed")]
    Read(#[from] io::Error),
    /// The command did not end in time.
    #[error("the command did not end within {} s", EXEC_TIMEOUT.as_secs())]
    TimedOut,
    /// The command failed; its output on stderr.
    #[error("{0}")]
    Failed(String),
    /// The output is not the expected JSON.
    #[error("the output is not the expected JSON")]
    Json(#[from] serde_json::Error),
}

/// The names of a Region's ready relay pods.
pub(super) async fn ready_relays(
    cluster: &Cluster,
    region: &NamespacedName,
) -> Result<Vec<String>, CommandError> {
    let api: Api<Pod> = Api::namespaced(cluster.client().clone(), &region.namespace);
    let params = ListParams::default().labels(&pod_selector(&region.name, "relay"));
    let pods = call("list", "the relays' Pods", api.list(&params)).await?;
    let is_ready = |pod: &&Pod| {
        let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
    };
    Ok(pods.items.iter().filter(is_ready).map(ResourceExt::name_any).collect())
}

/// Runs `adit-relay` in a relay's pod. Returns what it prints on stdout.
pub(super) async fn run_in_relay(
    cluster: &Cluster,
    region: &NamespacedName,
    pod: &str,
    arguments: &[&str],
) -> Result<String, CommandError> {
    let target = format!("Pod {}/{pod}", region.namespace);
    let api: Api<Pod> = Api::namespaced(cluster.client().clone(), &region.namespace);
    let params = AttachParams::default().container(CONTAINER).stdin(false).stdout(true).stderr(true);
    let command: Vec<&str> = ["adit-relay"].iter().chain(arguments).copied().collect();
    let process = call("run a command in", &target, api.exec(pod, command, &params)).await?;
    let output = timeout(EXEC_TIMEOUT, output(process)).await.unwrap_or(Err(ExecError::TimedOut));
    output.map_err(|error| CommandError::unreachable(format!("a command in {target} failed"), &error))
}

async fn output(mut process: AttachedProcess) -> Result<String, ExecError> {
    let (stdout, stderr, status) = (process.stdout(), process.stderr(), process.take_status());
    let (stdout, stderr) = tokio::try_join!(read(stdout), read(stderr))?;
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    match status {
        Some(status) if status.status.as_deref() == Some("Success") => Ok(stdout),
        Some(status) if stderr.trim().is_empty() => {
            Err(ExecError::Failed(status.message.unwrap_or_default()))
        }
        Some(_) => Err(ExecError::Failed(stderr)),
        None => Err(ExecError::Read(io::ErrorKind::UnexpectedEof.into())),
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs `adit-relay` in the pod of every ready relay of a Region. Returns the pods' names with the JSON that each prints.
pub(super) async fn ask_every_relay<T: DeserializeOwned>(
    cluster: &Cluster,
    region: &NamespacedName,
    arguments: &[&str],
) -> Result<Vec<(String, T)>, CommandError> {
    let relays = ready_relays(cluster, region).await?;
    let answers = stream::iter(relays).map(|pod| async move {
        let text = run_in_relay(cluster, region, &pod, arguments).await?;
        let answer = serde_json::from_str(&text).map_err(|error| {
            CommandError::unreachable(format!("cannot read the answer of {pod}"), &ExecError::Json(error))
        })?;
        Ok((pod, answer))
    });
    answers.buffered(MAX_CONCURRENT_RELAYS).try_collect().await
}

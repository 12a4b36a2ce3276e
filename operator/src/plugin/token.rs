//! `kubectl adit token`: a relay issues the token, so that the key never leaves the cluster.

use super::{
    cluster::{Cluster, id_of},
    command_error::{CommandError, UNREACHABLE_EXIT_CODE},
    command_line::TokenOptions,
    output::Output,
    relays::{ready_relays, run_in_relay},
};

/// Prints a token of a Region.
pub(super) async fn token(cluster: &Cluster, options: &TokenOptions) -> Result<Output, CommandError> {
    let region = id_of(&cluster.region(options.region.as_deref()).await?);
    let relay = ready_relays(cluster, &region).await?.into_iter().next().ok_or_else(|| CommandError {
        what: format!("no relay of Region {region} is ready to issue a token"),
        code: "no_relay",
        why: None,
        next: Some(format!("kubectl adit status -n {}", region.namespace)),
        exit_code: UNREACHABLE_EXIT_CODE,
    })?;
    let mut arguments = vec!["token", "--config", "/etc/adit/relay.yaml", "--account", &options.account];
    arguments.extend(["--ttl", &options.ttl, "--kinds", &options.kinds]);
    if let Some(names) = &options.names {
        arguments.extend(["--names", names]);
    }
    Ok(Output::new(run_in_relay(cluster, &region, &relay, &arguments).await?))
}

//! `kubectl adit token`: a relay makes it, so that the key never leaves the cluster.

use super::{
    Answer, Failure, UNREACHABLE,
    args::Token,
    kubectl::{Kubectl, place},
};

pub(super) fn token(kubectl: &Kubectl, token: &Token) -> Result<Answer, Failure> {
    let region = kubectl.region(token.region.as_deref())?;
    let (namespace, name) = place(&region);
    let relay = kubectl.relays(&region)?.into_iter().next().ok_or_else(|| Failure {
        what: format!("no relay of {name} is ready to make a token"),
        code: "no_relay",
        why: None,
        next: Some(format!("kubectl adit status -n {namespace}")),
        exit: UNREACHABLE,
    })?;
    let mut words = vec!["token", "--config", "/etc/adit/relay.yaml"];
    words.extend(["--account", &token.account, "--ttl", &token.ttl, "--kinds", &token.kinds]);
    if let Some(names) = &token.names {
        words.extend(["--names", names]);
    }
    Ok(Answer { text: kubectl.relay(&region, &relay, &words)?, is_problem: false })
}

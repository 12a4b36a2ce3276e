//! The end of a session that a suspension hits.

use crate::{
    ops::clock::now,
    routing::local::{Command, Local, Session},
    suspensions::{SuspensionSet, endpoint_in_words, in_words},
};
use adit_protocol::{Code, ToClient};

/// Closes a session that is suspended, or whose endpoints are. Returns whether a suspension hits it.
pub(crate) fn close_if_suspended(suspensions: &SuspensionSet, local: &Local, session: &Session) -> bool {
    let index = suspensions.load();
    if let Some(hit) = index.account(&session.account, now) {
        if session.suspend() {
            suspensions.count_closed(&hit.id);
            let notice = suspensions.notice(hit, &session.account.key());
            let message = in_words(&notice);
            let last = ToClient::Close { code: Code::Suspended, message, suspension: Some(Box::new(notice)) };
            close(session, vec![], last);
        }
        return true;
    }
    let mut closed = vec![];
    for endpoint in session.endpoints() {
        let Some(hit) = index.endpoint(&endpoint, now) else { continue };
        let Some(served) = local.endpoint(&endpoint) else { continue };
        let message = endpoint_in_words(&suspensions.notice(hit, &endpoint.to_string()));
        let notice = ToClient::Closed { tunnel: served.tunnel.clone(), code: Code::Suspended, message };
        closed.push((hit.id.clone(), notice));
    }
    if closed.is_empty() {
        return false;
    }
    if session.suspend() {
        for (id, _) in &closed {
            suspensions.count_closed(id);
        }
        // What flows through the tunnel ends with the session; the client comes back with its other tunnels.
        let notices = closed.into_iter().map(|(_, notice)| notice).collect();
        close(session, notices, ToClient::close(Code::Draining, "one of its tunnels was suspended"));
    }
    true
}

/// Sends notices and a last message, and takes no further streams.
fn close(session: &Session, notices: Vec<ToClient>, last: ToClient) {
    session.set_closing();
    let told = notices.into_iter().all(|notice| session.command(Command::Tell(notice)));
    if !told || !session.command(Command::Close(last)) {
        // It reads nothing.
        session.cut.cancel();
    }
}

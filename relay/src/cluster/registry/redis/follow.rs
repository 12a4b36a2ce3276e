//! Keeps the table up to date: a snapshot, then every change in order, and a new snapshot whenever one is missing.

use super::{FollowerRequest, MAX_CALL_TIME, Shared, bounded, wire};
use crate::cluster::{
    registry::RegistryError,
    table::{Change, MAX_RELAYS, MAX_ROWS, RelayRecord, Row},
};
use rand::Rng;
use redis::{AsyncConnectionConfig, Cmd, aio::MultiplexedConnection};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use tracing::{info, warn};

/// Time that Redis waits for a change before it answers that there is none.
const BLOCK_TIME: Duration = Duration::from_millis(500);

/// Maximum number of changes in one read.
const MAX_READ_CHANGES: usize = 512;

/// Approximate number of rows in one page of a snapshot.
const SNAPSHOT_PAGE_ROWS: usize = 512;

/// The waits between attempts to connect.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(50);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Maximum time between two answers that counts as time in which other relays could be heard.
const MAX_HEARD_GAP: Duration = Duration::from_secs(1);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut retry = MIN_RETRY_DELAY;
    loop {
        let error = match follow(&shared).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let was_up = shared.state.borrow().is_up;
        shared.set_link(None);
        if was_up {
            warn!(error = %chain(&error), "registry lost; the last table stays in use, new claims are refused");
            retry = MIN_RETRY_DELAY;
        } else if retry == MIN_RETRY_DELAY {
            warn!(error = %chain(&error), "registry cannot be reached");
        }
        let jitter = rand::rng().random_range(0.5..1.0);
        sleep(retry.mul_f64(jitter)).await;
        retry = (retry * 2).min(MAX_RETRY_DELAY);
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Connects and follows until the link is broken.
async fn follow(shared: &Shared) -> Result<std::convert::Infallible, RegistryError> {
    shared.take_request();
    let mut commands = connect(shared).await?;
    let mut stream = connect(shared).await?;
    loop {
        let snapshot = snapshot(shared, &mut commands).await?;
        if !shared.state.borrow().is_up {
            info!(rows = snapshot.rows.len(), relays = snapshot.relays.len(), "registry connected");
        }
        take_in(shared, snapshot);
        shared.set_link(Some(commands.clone()));
        changes(shared, &mut stream).await?;
    }
}

async fn connect(shared: &Shared) -> Result<MultiplexedConnection, RegistryError> {
    // The calls have bounds of their own; the library's would end a wait for changes.
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(MAX_CALL_TIME)).set_response_timeout(None);
    let connecting = shared.client.get_multiplexed_async_connection_with_config(&config);
    bounded(MAX_CALL_TIME, connecting).await?.map_err(RegistryError::Failed)
}

/// Names and values of a hash or of an entry.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The registry's content: at least as new as its version, and in parts newer.
struct Snapshot {
    epoch: u64,
    version: u64,
    rows: Vec<(u64, Row)>,
    relays: Vec<(u64, RelayRecord)>,
}

/// Puts a snapshot into the table, page by page, so that no claim waits for all of it.
fn take_in(shared: &Shared, snapshot: Snapshot) {
    let Snapshot { epoch, version, rows, relays } = snapshot;
    shared.table.update(|state| state.begin_restart(epoch, version, relays));
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        shared.table.update(|state| state.add_rows(rows.by_ref().take(SNAPSHOT_PAGE_ROWS)));
    }
    shared.table.update(crate::cluster::table::State::end_restart);
}

/// Reads the whole content, in pages, while it changes.
///
/// The version is taken first: each row has its own, so that following the changes from there on makes the content
/// whole, also where a page was older or newer.
async fn snapshot(shared: &Shared, redis: &mut MultiplexedConnection) -> Result<Snapshot, RegistryError> {
    let open = shared.scripts.open();
    let (epoch, version): (u64, u64) = shared.call(open.invoke_async(redis)).await?;
    let mut rows = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let mut page = Cmd::new();
        page.arg("HSCAN").arg(&shared.scripts.rows).arg(cursor).arg("COUNT").arg(SNAPSHOT_PAGE_ROWS);
        let (next, page): (u64, Fields) = shared.call(page.query_async(redis)).await?;
        rows.extend(page.into_iter().filter_map(|(endpoint, text)| row_at(&endpoint, &text)));
        cursor = next;
        // A hash may give a row on two pages; the table takes the last, which the changes correct if need be.
        if cursor == 0 || rows.len() >= 2 * MAX_ROWS {
            break;
        }
    }
    let mut relays = Cmd::new();
    relays.arg("HGETALL").arg(&shared.scripts.relays);
    let relays: Fields = shared.call(relays.query_async(redis)).await?;
    let relays = relays.into_iter().filter_map(|(id, text)| relay_at(&id, &text)).take(MAX_RELAYS).collect();
    let (epoch_now, _): (u64, u64) = shared.call(open.invoke_async(redis)).await?;
    if epoch_now == epoch {
        Ok(Snapshot { epoch, version, rows, relays })
    } else {
        Err(RegistryError::ContentLost)
    }
}

/// A row from its place, which has to be its own: else one text could stand for many.
fn row_at(endpoint: &[u8], text: &[u8]) -> Option<(u64, Row)> {
    wire::row(text).filter(|(_, row)| row.endpoint.to_string().as_bytes() == endpoint)
}

fn relay_at(id: &[u8], text: &[u8]) -> Option<(u64, RelayRecord)> {
    wire::relay(text).filter(|(_, record)| record.relay.as_str().as_bytes() == id)
}

/// Takes in the changes, as long as none is missing and no new snapshot is wished for.
async fn changes(shared: &Shared, redis: &mut MultiplexedConnection) -> Result<(), RegistryError> {
    let mut heard = Instant::now();
    loop {
        let floor = shared.table.read(|state| state.floor());
        let entries = tokio::select! {
            entries = read(shared, redis, floor) => entries?,
            () = shared.request.notified() => match shared.take_request() {
                Some(FollowerRequest::Snapshot) => return Ok(()),
                Some(FollowerRequest::Link) => return Err(RegistryError::Disconnected),
                None => continue,
            },
        };
        let passed = heard.elapsed().min(MAX_HEARD_GAP);
        heard = Instant::now();
        let mut missing = false;
        shared.table.update(|state| {
            for change in entries {
                if change.version != state.floor() + 1 {
                    missing = true;
                    break;
                }
                state.follow(change);
            }
            state.pass(passed);
        });
        if missing {
            return Ok(());
        }
    }
}

/// An entry of the stream: its id and its fields.
type Entry = (String, Fields);

/// The answer to a read of streams, by the name of the stream.
type Streams = Option<Vec<(String, Vec<Entry>)>>;

async fn read(
    shared: &Shared,
    redis: &mut MultiplexedConnection,
    after: u64,
) -> Result<Vec<Change>, RegistryError> {
    let mut read = Cmd::new();
    read.arg("XREAD").arg("COUNT").arg(MAX_READ_CHANGES).arg("BLOCK").arg(BLOCK_TIME.as_millis().to_string());
    read.arg("STREAMS").arg(&shared.scripts.changes).arg(format!("{after}-0"));
    let reply: redis::RedisResult<Streams> =
        bounded(BLOCK_TIME + MAX_CALL_TIME, read.query_async(redis)).await?;
    let entries =
        reply.map_err(RegistryError::Failed)?.into_iter().flatten().flat_map(|(_, entries)| entries);
    entries.map(change).collect()
}

fn change((id, fields): Entry) -> Result<Change, RegistryError> {
    let version = id.strip_suffix("-0").and_then(|version| version.parse().ok());
    let version = version.ok_or(RegistryError::Unreadable)?;
    let what = match fields.as_slice() {
        [(field, text)] => wire::what(field, text),
        _ => crate::cluster::table::ChangeKind::Unreadable,
    };
    Ok(Change { version, what })
}

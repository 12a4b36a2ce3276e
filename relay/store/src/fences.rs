//! Fences: named locks with a time limit, which writes of their holder check.

use crate::{Store, StoreError, connections::statement, number, unsigned};

/// A lock that its holder has until it expires or another one takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The name of the lock.
    pub name: String,
    /// Grows with each change of the holder.
    pub epoch: u64,
}

/// The SQL condition that the fence is still held: `$1` is the name, `$2` the epoch.
pub(crate) const HELD: &str = "SELECT epoch FROM fences WHERE name = $1 AND epoch = $2";

impl Store {
    /// Takes or renews a fence for some seconds. `None` while another holder has it.
    pub async fn take_fence(
        &self,
        name: &str,
        holder: &str,
        seconds: u64,
        now: u64,
    ) -> Result<Option<Fence>, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        statement!(self, |connection| {
            let epoch: Option<i64> = sqlx::query_scalar(
                "INSERT INTO fences (name, holder, epoch, until) VALUES ($1, $2, 1, $3) \
                 ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until, \
                   epoch = fences.epoch + CASE WHEN fences.holder = excluded.holder THEN 0 ELSE 1 END \
                 WHERE fences.holder = excluded.holder OR fences.until <= $4 RETURNING epoch",
            )
            .bind(&name)
            .bind(&holder)
            .bind(number(now.saturating_add(seconds)))
            .bind(number(now))
            .fetch_optional(connection)
            .await?;
            Ok(epoch.map(|epoch| Fence { name: name.clone(), epoch: unsigned(epoch) }))
        })
    }

    /// Releases a fence.
    pub async fn leave_fence(&self, fence: &Fence) -> Result<(), StoreError> {
        let fence = fence.clone();
        statement!(self, |connection| {
            sqlx::query("UPDATE fences SET until = 0, holder = '' WHERE name = $1 AND epoch = $2")
                .bind(&fence.name)
                .bind(number(fence.epoch))
                .execute(connection)
                .await?;
            Ok(())
        })
    }
}

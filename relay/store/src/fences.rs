//! Who may do what only one may do at a time.

use crate::{Store, StoreError, connections::statement, number, unsigned};

/// The right to do something, until it ends or somebody else has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// What it is about.
    pub name: String,
    /// Grows whenever it changes hands.
    pub epoch: u64,
}

/// The condition under which a write of the fence's holder counts: `$1` is the name, `$2` the epoch.
pub(crate) const HELD: &str = "SELECT epoch FROM fences WHERE name = $1 AND epoch = $2";

impl Store {
    /// Takes a fence, or holds on to it, for some seconds. Nothing while somebody else has it.
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

    /// Lets the next one take a fence at once.
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

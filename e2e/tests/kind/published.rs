//! What most tests begin with: a region, a service, a client, and load.

use adit_e2e::{
    namespace::Namespace,
    region::{Client, Region},
};
use adit_testkit::{http::Service, load::Load};
use serde_json::{Value, json};

/// A service that is published as `shop`.
pub(crate) struct Published {
    pub(crate) namespace: Namespace,
    pub(crate) region: Region,
    pub(crate) service: Service,
    pub(crate) client: Client,
}

/// What steady load may ask of one account.
pub(crate) fn limits() -> Value {
    json!({"requestsPerSecond": 100_000})
}

impl Published {
    /// In a Region `eu`; `more` is merged into its spec.
    pub(crate) async fn new(namespace: Namespace, more: Value) -> Self {
        let region = namespace.region("eu", more).await;
        Self::at(namespace, region).await
    }

    /// In a Region that was just made.
    pub(crate) async fn at(namespace: Namespace, region: Region) -> Self {
        region.wait_ready().await;
        let service = Service::start().await;
        let client = region.client("me", "shop", service.address()).await;
        region.is_served("shop").await;
        Self { namespace, region, service, client }
    }

    /// Steady load of so many consumers.
    pub(crate) async fn load(&self, consumers: usize) -> Load {
        let consumer = self.region.consumer("shop").await;
        Load::of(std::iter::repeat_n(consumer, consumers), &self.region.host("shop"), "/bytes/1000")
    }

    /// The relays' pods: uid and how often they were started anew, in order.
    pub(crate) async fn pods(&self) -> Vec<(String, u64)> {
        let pods = self.namespace.list("pods", "app.kubernetes.io/component=relay").await;
        let mut pods: Vec<_> = pods
            .iter()
            .map(|pod| {
                let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0);
                (pod["metadata"]["uid"].as_str().unwrap().to_owned(), restarts)
            })
            .collect();
        pods.sort();
        pods
    }

    /// Ends the client first: its sessions would be waited for.
    pub(crate) async fn end(self) {
        drop(self.client);
        self.namespace.end().await;
    }
}

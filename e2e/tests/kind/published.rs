//! The fixture of most tests: a region, a service, a client, and load.

use adit_e2e::{
    namespace::Namespace,
    region::{Client, Region},
};
use adit_testkit::{http::Service, load_generator::LoadGenerator};
use serde_json::{Value, json};

/// A service that is published as `shop`.
pub(crate) struct Published {
    pub(crate) namespace: Namespace,
    pub(crate) region: Region,
    pub(crate) service: Service,
    pub(crate) client: Client,
}

/// The limits of the account under load.
pub(crate) fn limits() -> Value {
    json!({"requestsPerSecond": 100_000})
}

impl Published {
    /// Publishes the service in a new Region `eu`; `more` is merged into its spec.
    pub(crate) async fn new(namespace: Namespace, more: Value) -> Self {
        let region = namespace.region("eu", more).await;
        Self::at(namespace, region).await
    }

    /// Publishes the service in a Region that was just created.
    pub(crate) async fn at(namespace: Namespace, region: Region) -> Self {
        region.wait_ready().await;
        let service = Service::start().await;
        let client = region.client("me", "shop", service.address()).await;
        region.wait_served("shop").await;
        Self { namespace, region, service, client }
    }

    /// Starts load of this number of consumers.
    pub(crate) async fn load(&self, consumers: usize) -> LoadGenerator {
        let consumer = self.region.consumer("shop").await;
        LoadGenerator::of(std::iter::repeat_n(consumer, consumers), &self.region.host("shop"), "/bytes/1000")
    }

    /// The relays' pods: their uids and numbers of restarts, sorted.
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

    /// Ends the client before the Region, which would wait for its sessions.
    pub(crate) async fn end(self) {
        drop(self.client);
        self.namespace.end().await;
    }
}

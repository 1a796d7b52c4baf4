use respite_outside::postgres::Cluster;

use super::*;
use crate::store::suite::{self, Place};

struct Database(String);

impl Database {
    fn new(cluster: &Cluster) -> Self {
        Self(cluster.fresh().unwrap())
    }

    async fn engine(&self) -> Postgres {
        Postgres::open(&self.0).await.unwrap()
    }
}

impl Place for Database {
    async fn open(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine().await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_every_engine_does() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    suite::run(|| Database::new(cluster)).await;
}

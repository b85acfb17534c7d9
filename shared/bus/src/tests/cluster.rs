//! Three nodes with TLS, as `halcyon init --nats-node` sets them up: every stream three times, and a node lost.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use halcyon_domain::{duration::HumanDuration, id::DatasourceId};
use halcyon_tests::{nats::Nats, ports};

use super::{
    permissions::everybody_works,
    support::{event, eventually, soon},
    tls::Authority,
};
use crate::{
    Bus, BusSettings, BusTls, Durability, Identity, Service,
    server::{ClusterParams, ServerParams, server_config},
};

const NODES: usize = 3;

struct Cluster {
    nodes: Vec<Nats>,
    buses: HashMap<Service, Bus>,
    _authority: Authority,
}

impl Cluster {
    async fn start() -> Self {
        let authority = Authority::new();
        let tls = authority.sign("127.0.0.1");
        let identities = Service::ALL.map(Identity::generate);
        let users: Vec<_> = identities
            .iter()
            .map(|id| (id.service(), id.public_key().unwrap()))
            .collect();
        let routes: Vec<u16> = (0..NODES).map(|_| ports::free()).collect();
        let mut nodes = Vec::new();
        for (number, route) in routes.iter().enumerate() {
            let node = Nats::start_with(|port, store| {
                let listen = SocketAddr::from(([127, 0, 0, 1], port));
                let mut params =
                    ServerParams::new(listen, store.to_owned(), users.clone(), "look-only".into());
                params.server_name = format!("node-{number}");
                params.tls = Some(tls.clone());
                params.cluster = Some(ClusterParams {
                    advertise: listen.to_string(),
                    port: *route,
                    nodes: routes.iter().map(|route| format!("127.0.0.1:{route}")).collect(),
                    password: "betweennodes".into(),
                    tls: tls.clone(),
                });
                server_config(&params).unwrap()
            });
            nodes.push(node.await.unwrap());
        }
        let urls: Vec<_> = nodes.iter().map(Nats::url).collect();
        let settings = BusSettings {
            url: urls.join(","),
            partitions: 4,
            replicas: 3,
            tls: BusTls {
                ca_file: Some(authority.file()),
                ..BusTls::default()
            },
            ack_timeout: HumanDuration::from_secs(1),
            publish_deadline: HumanDuration::from_secs(30),
            ..BusSettings::default()
        };
        let mut buses = HashMap::new();
        for identity in &identities {
            let bus = Bus::connect(&settings, identity).await.unwrap();
            buses.insert(identity.service(), bus);
        }
        let registry = &buses[&Service::Registry];
        // A leader is elected first.
        eventually(|| async { registry.ensure_streams(3).await.is_ok() }).await;
        Self {
            nodes,
            buses,
            _authority: authority,
        }
    }
}

#[tokio::test]
async fn every_service_can_do_its_work_on_a_cluster_and_with_a_node_down() {
    let mut cluster = Cluster::start().await;
    everybody_works(&cluster.buses).await;
    let gateway = &cluster.buses[&Service::Gateway];
    assert_eq!(gateway.durability().await.unwrap(), Durability::Replicated(3));
    let publishers = gateway.ingest_publishers();
    let feed = DatasourceId::generate();
    publishers.submit(1, &event(feed, "1"), None).await.unwrap();

    cluster.nodes[0].kill().unwrap();
    publishers.submit(1, &event(feed, "2"), None).await.unwrap();
    let mut consumer = cluster.buses[&Service::Worker].ingest_consumer(1);
    for expected in ["1", "2"] {
        let delivery = soon(consumer.next()).await;
        assert_eq!(delivery.events().unwrap()[0].payload, expected);
        delivery.ack().await.unwrap();
    }

    // Without a majority nothing is acked.
    cluster.nodes[1].kill().unwrap();
    let third = event(feed, "3");
    let alone = tokio::time::timeout(Duration::from_secs(3), publishers.submit(1, &third, None));
    assert!(!matches!(alone.await, Ok(Ok(()))));
    cluster.nodes[0].restart().await.unwrap();
    soon(publishers.submit(1, &event(feed, "4"), None)).await.unwrap();
}

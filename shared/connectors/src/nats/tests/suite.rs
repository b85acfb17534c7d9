//! The compliance suite, for each way to prove who one is.

use super::peer::{NatsPeer, Way};
use crate::{compliance::comply, nats::Nats};

async fn complies(way: Way) {
    let mut peer = NatsPeer::start(way).await;
    let kills = comply(&Nats, &mut peer).await;
    println!("nats ({way:?}): killed at {kills} points, nothing lost, nothing twice");
}

#[tokio::test]
async fn without_users() {
    complies(Way::Open).await;
}

#[tokio::test]
async fn with_a_password() {
    complies(Way::Password).await;
}

#[tokio::test]
async fn with_a_token() {
    complies(Way::Token).await;
}

#[tokio::test]
async fn with_a_key() {
    complies(Way::Nkey).await;
}

#[tokio::test]
async fn over_tls_with_a_certificate() {
    complies(Way::Tls).await;
}

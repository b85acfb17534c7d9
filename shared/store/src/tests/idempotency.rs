//! Requests with an `Idempotency-Key`.

use chrono::TimeDelta;
use halcyon_domain::{clock::Timestamp, id::OrganizationId};
use uuid::Uuid;

use super::{Fixture, at, on_both};
use crate::{KeptAnswer, KeyedRequest, Remembered, Tenant};

fn request(key: &str) -> KeyedRequest {
    KeyedRequest {
        subject: Uuid::from_u128(7),
        key: key.into(),
        hash: vec![1],
        claim: Uuid::new_v4(),
    }
}

/// The same request, sent once more.
fn again(request: &KeyedRequest) -> KeyedRequest {
    KeyedRequest {
        claim: Uuid::new_v4(),
        ..request.clone()
    }
}

fn answer() -> KeptAnswer {
    KeptAnswer {
        status: 201,
        headers: "{}".into(),
        body: Some(b"{}".to_vec()),
    }
}

/// Claims for a minute.
async fn claim(fixture: &Fixture, tenant: Tenant, request: &KeyedRequest, now: Timestamp) -> Remembered {
    let tx = fixture.store.begin().await.unwrap();
    let until = now + TimeDelta::minutes(1);
    let known = tx.idempotency().claim(tenant, request, now, until).await.unwrap();
    tx.commit().await.unwrap();
    known
}

#[tokio::test]
async fn a_repeated_request_gets_the_kept_answer_for_a_day() {
    on_both(|fixture| async move {
        let tenant = Tenant(OrganizationId::generate());
        let first = request("k");
        assert_eq!(claim(&fixture, tenant, &first, at(0)).await, Remembered::New);
        let until = at(0) + TimeDelta::minutes(1);
        assert_eq!(
            claim(&fixture, tenant, &again(&first), at(1)).await,
            Remembered::InFlight(until)
        );
        let tx = fixture.store.begin().await.unwrap();
        assert!(tx.idempotency().mark(tenant, &first, None, at(2)).await.unwrap());
        tx.idempotency().answer(tenant, &first, &answer()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(
            claim(&fixture, tenant, &again(&first), at(3)).await,
            Remembered::Answered(answer())
        );
        let other = KeyedRequest {
            hash: vec![2],
            ..again(&first)
        };
        assert_eq!(
            claim(&fixture, tenant, &other, at(3)).await,
            Remembered::OtherRequest
        );
        let elsewhere = Tenant(OrganizationId::generate());
        assert_eq!(claim(&fixture, elsewhere, &other, at(3)).await, Remembered::New);
        let next_day = at(0) + TimeDelta::hours(25);
        assert_eq!(claim(&fixture, tenant, &other, next_day).await, Remembered::New);
        fixture.store.maintain(next_day).await.unwrap();
        let known = claim(&fixture, elsewhere, &again(&other), next_day).await;
        assert_eq!(known, Remembered::New, "pruned");
    })
    .await;
}

#[tokio::test]
async fn a_claim_that_ran_out_without_effect_is_taken_over_and_can_no_longer_take_effect() {
    on_both(|fixture| async move {
        let tenant = Tenant(OrganizationId::generate());
        let (first, second) = (request("k"), request("k"));
        assert_eq!(claim(&fixture, tenant, &first, at(0)).await, Remembered::New);
        assert_eq!(claim(&fixture, tenant, &second, at(61)).await, Remembered::New);
        let tx = fixture.store.begin().await.unwrap();
        let keys = tx.idempotency();
        assert!(!keys.mark(tenant, &first, None, at(62)).await.unwrap());
        assert!(!keys.give_up(tenant, &first).await.unwrap());
        assert!(keys.mark(tenant, &second, None, at(62)).await.unwrap());
        tx.rollback().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_took_effect_is_never_run_again_though_its_answer_is_lost() {
    on_both(|fixture| async move {
        let tenant = Tenant(OrganizationId::generate());
        let first = request("k");
        claim(&fixture, tenant, &first, at(0)).await;
        let tx = fixture.store.begin().await.unwrap();
        let keys = tx.idempotency();
        assert!(
            keys.mark(tenant, &first, Some("datasource 1"), at(1))
                .await
                .unwrap()
        );
        tx.commit().await.unwrap();
        let tx = fixture.store.begin().await.unwrap();
        assert!(!tx.idempotency().give_up(tenant, &first).await.unwrap());
        tx.commit().await.unwrap();
        let known = claim(&fixture, tenant, &again(&first), at(2)).await;
        assert_eq!(known, Remembered::InFlight(at(60)), "its process may yet answer");
        assert_eq!(
            claim(&fixture, tenant, &again(&first), at(61)).await,
            Remembered::AnswerLost(Some("datasource 1".into()))
        );
    })
    .await;
}

#[tokio::test]
async fn what_was_given_up_may_run_again_at_once() {
    on_both(|fixture| async move {
        let tenant = Tenant(OrganizationId::generate());
        let first = request("k");
        claim(&fixture, tenant, &first, at(0)).await;
        let tx = fixture.store.begin().await.unwrap();
        assert!(tx.idempotency().give_up(tenant, &first).await.unwrap());
        tx.commit().await.unwrap();
        let other = KeyedRequest {
            hash: vec![2],
            ..again(&first)
        };
        assert_eq!(claim(&fixture, tenant, &other, at(1)).await, Remembered::New);
    })
    .await;
}

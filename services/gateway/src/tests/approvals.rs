//! Approvals: who may decide, what ends one, and that nothing is published without one where one is needed.

use halcyon_domain::{
    access::{Grant, Role, Scope, Subject},
    audit::AuditOutcome,
    clock::Timestamp,
    datasource::DatasourceEventKind,
    id::{ActorId, RoleBindingId, ServiceAccountId, ServiceAccountTokenId, UserId},
};
use halcyon_store::{RoleBinding, ServiceAccount, ServiceAccountToken};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::support::{Answer, Gateway, config};

/// A feed with a draft that needs an approval, and three admins: one wrote it.
struct Review {
    gateway: Gateway,
    author: String,
    second: String,
    third: String,
    path: String,
}

impl Review {
    async fn start() -> Self {
        let gateway = Gateway::start().await;
        let everywhere = Scope::Organization(gateway.organization);
        let author = gateway.user(Role::Admin, everywhere).await;
        let second = gateway.user(Role::Admin, everywhere).await;
        let third = gateway.user(Role::Admin, everywhere).await;
        gateway.require_approval("required").await;
        let body = json!({"name": "EDR", "type": "http_webhook", "config": config("title")});
        let made = gateway
            .call(&author, "POST", "/datasources", Some(body))
            .await
            .expect(201);
        let path = format!("/datasources/{}", made["id"].as_str().unwrap());
        let review = Self {
            gateway,
            author,
            second,
            third,
            path,
        };
        review
            .call(
                &review.author,
                "PUT",
                "/secrets/token",
                json!({"value": "s3cret"}),
            )
            .await
            .expect(200);
        review
    }

    async fn call(&self, token: &str, method: &str, path: &str, body: Value) -> Answer {
        self.gateway
            .call(token, method, &format!("{}{path}", self.path), Some(body))
            .await
    }

    async fn get(&self, token: &str, path: &str) -> Value {
        self.gateway
            .call(token, "GET", &format!("{}{path}", self.path), None)
            .await
            .expect(200)
    }

    /// Asks for an approval; returns its path.
    async fn ask(&self) -> String {
        let asked = self
            .call(&self.author, "POST", "/approvals", json!({"note": "please"}))
            .await
            .expect(201);
        assert_eq!(asked["status"], "pending");
        format!("/approvals/{}", asked["id"].as_str().unwrap())
    }

    async fn approve(&self, token: &str, approval: &str) -> Answer {
        self.call(token, "POST", &format!("{approval}/approve"), json!({}))
            .await
    }

    async fn publish(&self, body: Value) -> Answer {
        self.call(&self.author, "POST", "/publish", body).await
    }

    async fn history(&self) -> Vec<DatasourceEventKind> {
        let notices = self.gateway.notices().await;
        notices
            .into_iter()
            .filter_map(|notice| notice.cause.map(|cause| cause.kind))
            .collect()
    }
}

fn code(problem: &Value) -> &str {
    problem["type"].as_str().unwrap().rsplit(':').next().unwrap()
}

#[tokio::test]
async fn a_draft_is_published_once_somebody_else_agreed() {
    let review = Review::start().await;
    let refused = review.publish(json!({})).await.expect(409);
    assert_eq!(code(&refused), "approval_required");
    assert!(refused["detail"].as_str().unwrap().contains("POST .../approvals"));
    let approval = review.ask().await;
    let again = review
        .call(&review.author, "POST", "/approvals", json!({}))
        .await
        .expect(409);
    assert_eq!(code(&again), "approval_open");
    review.publish(json!({})).await.expect(409);

    let inbox = review
        .gateway
        .call(&review.second, "GET", "/approvals?status=pending", None)
        .await
        .expect(200);
    let waiting = &inbox["items"][0];
    assert_eq!(
        (
            &waiting["datasource_name"],
            &waiting["may_decide"],
            &waiting["version"]
        ),
        (&json!("EDR"), &json!(true), &json!(1))
    );
    assert_eq!(waiting["config_hash"].as_str().unwrap().len(), 64);

    let approved = review.approve(&review.second, &approval).await.expect(200);
    assert_eq!(
        (&approved["status"], &approved["revision"]),
        (&json!("approved"), &json!(2))
    );
    review.publish(json!({})).await.expect(200);
    assert_eq!(review.get(&review.author, &approval).await["status"], "used");
    let entry = review.gateway.trail().await.pop().unwrap();
    assert_eq!(entry.action, "datasource.publish");
    assert!(entry.summary.unwrap().contains("approved by"));
    let kinds = review.history().await;
    assert!(kinds.contains(&DatasourceEventKind::ApprovalRequested));
    assert!(kinds.contains(&DatasourceEventKind::Approved));
    assert!(!kinds.contains(&DatasourceEventKind::ApprovalReset));
}

#[tokio::test]
async fn whoever_wrote_or_asked_decides_nothing() {
    let review = Review::start().await;
    // The second edits the draft, the third asks.
    review
        .call(
            &review.second,
            "PUT",
            "/versions/1",
            json!({"config": config("name")}),
        )
        .await
        .expect(200);
    let asked = review
        .call(&review.third, "POST", "/approvals", json!({}))
        .await
        .expect(201);
    assert_eq!(asked["may_decide"], false);
    let approval = format!("/approvals/{}", asked["id"].as_str().unwrap());
    for own in [&review.author, &review.second, &review.third] {
        assert_eq!(review.get(own, &approval).await["may_decide"], false);
        let refused = review.approve(own, &approval).await.expect(403);
        assert_eq!(code(&refused), "own_work");
        let body = json!({"comment": "no"});
        let refused = review
            .call(own, "POST", &format!("{approval}/reject"), body)
            .await
            .expect(403);
        assert_eq!(code(&refused), "own_work");
    }
    assert_eq!(review.gateway.refusals().len(), 6);
    let operator = review
        .gateway
        .user(Role::Operator, Scope::Organization(review.gateway.organization))
        .await;
    let refused = review.approve(&operator, &approval).await.expect(403);
    assert_eq!(code(&refused), "forbidden");
    // A comment makes no author.
    let body = json!({"comment": "tidied"});
    let admin = review.gateway.admin();
    review.call(&admin, "PUT", "/versions/1", body).await.expect(200);
    review.approve(&admin, &approval).await.expect(200);
    review.publish(json!({})).await.expect(200);
}

#[tokio::test]
async fn an_edit_ends_what_was_approved() {
    let review = Review::start().await;
    for by_datasource in [false, true] {
        let approval = review.ask().await;
        review.approve(&review.second, &approval).await.expect(200);
        let body = json!({"config": config("name")});
        let (path, config_before) = if by_datasource {
            ("", config("title"))
        } else {
            ("/versions/1", config("name"))
        };
        review
            .call(
                &review.author,
                "PUT",
                path,
                if by_datasource {
                    json!({"config": config_before})
                } else {
                    body
                },
            )
            .await
            .expect(200);
        assert_eq!(
            review.get(&review.author, &approval).await["status"],
            "superseded"
        );
        let refused = review.publish(json!({})).await.expect(409);
        assert_eq!(code(&refused), "approval_required");
        let late = review.approve(&review.third, &approval).await.expect(409);
        assert_eq!(code(&late), "invalid_transition");
    }
    let resets = review.history().await;
    let resets = resets
        .iter()
        .filter(|kind| **kind == DatasourceEventKind::ApprovalReset);
    assert_eq!(resets.count(), 2);
    // The configuration that was approved first is there again: what is over stays over.
    let approval = review.ask().await;
    review.approve(&review.third, &approval).await.expect(200);
    // The same configuration once more changes nothing.
    review
        .call(
            &review.author,
            "PUT",
            "/versions/1",
            json!({"config": config("title"), "comment": "same"}),
        )
        .await
        .expect(200);
    review.publish(json!({})).await.expect(200);
}

#[tokio::test]
async fn of_two_decisions_at_once_one_counts() {
    let review = Review::start().await;
    let approval = review.ask().await;
    let reject = json!({"comment": "not so"});
    let reject_path = format!("{approval}/reject");
    let (one, other) = tokio::join!(
        review.approve(&review.second, &approval),
        review.call(&review.third, "POST", &reject_path, reject),
    );
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let status = review.get(&review.author, &approval).await["status"].clone();
    let expected = if one.status == 200 { "approved" } else { "rejected" };
    assert_eq!(status, expected);
    let decided = review.gateway.trail().await;
    let decided = decided
        .iter()
        .filter(|entry| ["approval.approve", "approval.reject"].contains(&entry.action.as_str()));
    assert_eq!(decided.count(), 1);
}

#[tokio::test]
async fn what_is_published_is_what_was_approved_whoever_edits_meanwhile() {
    for _ in 0..5 {
        let review = Review::start().await;
        let approval = review.ask().await;
        review.approve(&review.second, &approval).await.expect(200);
        let (published, edited) = tokio::join!(
            review.publish(json!({})),
            review.call(
                &review.third,
                "PUT",
                "/versions/1",
                json!({"config": config("name")})
            ),
        );
        let version = review.get(&review.author, "/versions/1").await;
        let status = review.get(&review.author, &approval).await["status"].clone();
        if published.status == 200 {
            assert_eq!(
                (version["config"].clone(), status),
                (config("title"), json!("used"))
            );
            assert_eq!(edited.status, 409, "a published version is not edited");
        } else {
            assert!([409, 412].contains(&published.status), "{}", published.body);
            assert_eq!(
                (version["state"].clone(), version["config"].clone(), status),
                (json!("draft"), config("name"), json!("superseded"))
            );
        }
    }
}

#[tokio::test]
async fn requests_are_rejected_withdrawn_and_run_out_of_time() {
    let review = Review::start().await;
    let approval = review.ask().await;
    let no_reason = review
        .call(&review.second, "POST", &format!("{approval}/reject"), json!({}))
        .await
        .expect(422);
    assert_eq!(no_reason["errors"][0]["pointer"], "/comment");
    let rejected = review
        .call(
            &review.second,
            "POST",
            &format!("{approval}/reject"),
            json!({"comment": "too broad"}),
        )
        .await
        .expect(200);
    assert_eq!(
        (&rejected["status"], &rejected["decision_comment"]),
        (&json!("rejected"), &json!("too broad"))
    );
    review.publish(json!({})).await.expect(409);

    let approval = review.ask().await;
    let foreign = review
        .call(&review.second, "POST", &format!("{approval}/withdraw"), json!({}))
        .await
        .expect(403);
    assert_eq!(code(&foreign), "not_yours");
    review
        .call(&review.author, "POST", &format!("{approval}/withdraw"), json!({}))
        .await
        .expect(200);
    review.approve(&review.second, &approval).await.expect(409);

    let past = json!({"expires_at": "2001-01-01T00:00:00Z"});
    let past = review.call(&review.author, "POST", "/approvals", past).await;
    assert_eq!(past.expect(422)["errors"][0]["pointer"], "/expires_at");
    for body in [json!({"version": 9}), json!({"versions": 1})] {
        let status = review
            .call(&review.author, "POST", "/approvals", body)
            .await
            .status;
        assert!([404, 422].contains(&status), "{status}");
    }
    let list = review.get(&review.author, "/approvals?status=withdrawn").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let mine = review
        .gateway
        .call(&review.second, "GET", "/approvals?mine=true", None)
        .await
        .expect(200);
    assert!(mine["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn the_glass_is_broken_with_a_reason_and_loudly() {
    let review = Review::start().await;
    let short = review
        .publish(json!({"break_glass": {"reason": "now"}}))
        .await
        .expect(422);
    assert_eq!(short["errors"][0]["pointer"], "/break_glass/reason");
    review.publish(json!({"break_glass": {}})).await.expect(422);
    let operator = review
        .gateway
        .user(Role::Operator, Scope::Organization(review.gateway.organization))
        .await;
    let glass = json!({"break_glass": {"reason": "alerts are lost since noon"}});
    review
        .call(&operator, "POST", "/publish", glass.clone())
        .await
        .expect(403);
    let approval = review.ask().await;
    review.publish(glass.clone()).await.expect(200);
    let entry = review.gateway.trail().await.pop().unwrap();
    assert_eq!(
        (entry.action.as_str(), entry.outcome),
        ("datasource.break_glass", AuditOutcome::Succeeded)
    );
    let summary = entry.summary.unwrap();
    assert!(
        summary.contains("BREAK GLASS") && summary.contains("alerts are lost since noon"),
        "{summary}"
    );
    let kinds = review.history().await;
    assert!(
        kinds.contains(&DatasourceEventKind::BreakGlass) && kinds.contains(&DatasourceEventKind::Published)
    );
    assert_eq!(
        review.get(&review.author, &approval).await["status"],
        "superseded"
    );

    // Where nothing is in the way there is no glass to break.
    review
        .call(
            &review.author,
            "POST",
            "/versions",
            json!({"config": config("name")}),
        )
        .await
        .expect(201);
    let approval = review.ask().await;
    review.approve(&review.second, &approval).await.expect(200);
    let needless = review.publish(glass.clone()).await.expect(422);
    assert_eq!(needless["errors"][0]["code"], "not_needed");
    review.publish(json!({})).await.expect(200);
    review.gateway.require_approval("off").await;
    review
        .call(
            &review.author,
            "POST",
            "/versions",
            json!({"config": config("title")}),
        )
        .await
        .expect(201);
    review.publish(glass).await.expect(422);
    review.publish(json!({})).await.expect(200);
}

#[tokio::test]
async fn a_roll_back_takes_no_approval_but_only_to_what_was_published() {
    let review = Review::start().await;
    let approval = review.ask().await;
    review.approve(&review.second, &approval).await.expect(200);
    review.publish(json!({})).await.expect(200);
    review
        .call(
            &review.author,
            "POST",
            "/versions",
            json!({"config": config("name")}),
        )
        .await
        .expect(201);
    // An unapproved draft does not get in through the archive.
    review
        .call(&review.author, "POST", "/versions/2/archive", json!({}))
        .await
        .expect(200);
    let refused = review
        .call(&review.author, "POST", "/rollback", json!({"version": 2}))
        .await
        .expect(409);
    assert_eq!(code(&refused), "invalid_transition");
    let back = review
        .call(&review.author, "POST", "/rollback", json!({"version": 1}))
        .await
        .expect(200);
    assert_eq!((&back["number"], &back["config"]), (&json!(3), &config("title")));
}

#[tokio::test]
async fn a_project_may_say_otherwise_than_its_organisation() {
    let review = Review::start().await;
    review.gateway.require_approval_in_project(Some("off")).await;
    review.publish(json!({})).await.expect(200);
    review
        .call(
            &review.author,
            "POST",
            "/versions",
            json!({"config": config("name")}),
        )
        .await
        .expect(201);
    review.gateway.require_approval("off").await;
    review.gateway.require_approval_in_project(Some("required")).await;
    review.publish(json!({})).await.expect(409);
    review.gateway.require_approval_in_project(None).await;
    review.publish(json!({})).await.expect(200);
}

#[tokio::test]
async fn nobody_whom_approvals_bind_moves_out_of_their_reach() {
    let review = Review::start().await;
    let gateway = &review.gateway;
    gateway.require_approval("off").await;
    gateway.require_approval_in_project(Some("required")).await;
    let free = gateway
        .call(&review.second, "POST", "/projects", Some(json!({"name": "free"})))
        .await
        .expect(201);
    let free_id = free["id"].as_str().unwrap().parse().unwrap();
    // An admin of both projects, and of nothing else.
    let (both, user) = gateway
        .user_of(gateway.organization, Role::Admin, Scope::Project(gateway.project))
        .await;
    let scope = Scope::Project(free_id);
    gateway
        .grant(gateway.organization, user, Role::Admin, scope)
        .await;
    let to_free = json!({"project": free["id"]});
    review.call(&both, "PUT", "", to_free.clone()).await.expect(403);
    assert_eq!(gateway.refusals(), ["datasource.update"]);
    let bulk = |dry_run: bool| {
        let id = review.path.rsplit('/').next().unwrap();
        let body = json!({"action": "update", "ids": [id], "change": to_free, "dry_run": dry_run});
        gateway.call(&both, "POST", "/datasources/bulk", Some(body))
    };
    for dry_run in [true, false] {
        let report = bulk(dry_run).await.expect(200);
        assert_eq!(report["items"][0]["outcome"], "refused", "{dry_run}: {report}");
    }
    // Where approvals are needed as well, and for who decides on them, it is a move like any other.
    gateway.require_approval("required").await;
    review.call(&both, "PUT", "", to_free.clone()).await.expect(200);
    gateway.require_approval("off").await;
    let back = json!({"project": gateway.project.to_string()});
    review.call(&both, "PUT", "", back).await.expect(200);
    review.call(&review.second, "PUT", "", to_free).await.expect(200);
}

#[tokio::test]
async fn approvals_of_others_are_not_there() {
    let review = Review::start().await;
    review.ask().await;
    let body = json!({"name": "other", "type": "http_webhook", "config": config("t")});
    let other = review
        .gateway
        .call(&review.author, "POST", "/datasources", Some(body))
        .await
        .expect(201);
    let scope = Scope::Datasource(other["id"].as_str().unwrap().parse().unwrap());
    let stranger = review.gateway.user(Role::Admin, scope).await;
    let inbox = review
        .gateway
        .call(&stranger, "GET", "/approvals", None)
        .await
        .expect(200);
    assert!(inbox["items"].as_array().unwrap().is_empty());
    let seen = review
        .gateway
        .call(&review.second, "GET", "/approvals", None)
        .await;
    assert_eq!(seen.expect(200)["items"].as_array().unwrap().len(), 1);
    // A datasource that goes takes what waits with it.
    review
        .gateway
        .call(&review.author, "DELETE", &review.path, None)
        .await
        .expect(204);
    let inbox = review
        .gateway
        .call(&review.second, "GET", "/approvals", None)
        .await
        .expect(200);
    assert!(inbox["items"].as_array().unwrap().is_empty());
}

/// A token of a service account that `by` made.
async fn program(review: &Review, by: UserId) -> String {
    let gateway = &review.gateway;
    let (account, token) = (ServiceAccountId::generate(), ServiceAccountTokenId::generate());
    let (at, by) = (Timestamp::default(), Some(ActorId(by.0)));
    let tx = gateway.store.begin().await.unwrap();
    let accounts = tx.service_accounts();
    let row = ServiceAccount {
        id: account,
        organization: gateway.organization,
        name: account.to_string(),
        description: None,
        disabled: false,
        created_at: at,
        created_by: by,
        updated_at: at,
        revision: 1,
    };
    accounts.insert(&row).await.unwrap();
    let row = ServiceAccountToken {
        id: token,
        organization: gateway.organization,
        account,
        name: "t".into(),
        created_at: at,
        created_by: by,
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    };
    accounts
        .insert_token(&row, Sha256::digest(b"secret").into())
        .await
        .unwrap();
    let binding = RoleBinding {
        id: RoleBindingId::generate(),
        organization: Some(gateway.organization),
        subject: Subject::ServiceAccount(account),
        grant: Grant {
            role: Role::Admin,
            scope: Scope::Organization(gateway.organization),
        },
        created_at: at,
        created_by: by,
        updated_at: at,
        revision: 1,
    };
    tx.role_bindings().insert(&binding).await.unwrap();
    tx.commit().await.unwrap();
    format!("hsa_{}_secret", token.0.simple())
}

#[tokio::test]
async fn a_program_decides_nothing_and_hides_nobody() {
    let review = Review::start().await;
    let approval = review.ask().await;
    let maker = review.gateway.admin;
    let token = program(&review, maker).await;
    let refused = review.approve(&token, &approval).await.expect(403);
    assert_eq!(code(&refused), "not_a_person");
    // Whoever made a program that writes has written, even once the program is gone.
    review
        .call(&token, "PUT", "/versions/1", json!({"config": config("name")}))
        .await
        .expect(200);
    let approval = review.ask().await;
    let refused = review
        .approve(&review.gateway.admin(), &approval)
        .await
        .expect(403);
    assert_eq!(code(&refused), "own_work");
    review.approve(&review.second, &approval).await.expect(200);
}

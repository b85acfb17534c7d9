//! The route table: every path of the gateway and what answers it.

use std::sync::Arc;

use halcyon_infra::Health;
use salvo::{Router, Service, affix_state, catch_panic::CatchPanic, catcher::Catcher};

use crate::{
    app::App,
    context::Context,
    docs::Docs,
    edge::{Edge, idempotency::Idempotency},
    graphql::Graphql,
    openapi,
    rest::{
        approvals, audit, backfills, bulk, captures, catalog, checkpoints, comments, datasources,
        dead_letters, lifecycle, observe, ontology, organizations, projects, role_bindings, samples, secrets,
        service_accounts, session, tests, token_keys, users, versions,
    },
    server::{Description, Jwks, Measured, NoQuery, Probes, Problems, ToDocs},
};

/// The REST API.
pub(crate) fn api() -> Router {
    Router::with_path("api/v1")
        .push(Router::with_path("auth/login").post(session::login))
        .push(Router::with_path("auth/refresh").post(session::refresh))
        .push(Router::with_path("auth/logout").post(session::logout))
        .push(Router::with_path("auth/switch-organization").post(session::switch_organization))
        .push(Router::with_path("me").get(session::me))
        .push(Router::with_path("me/sessions").get(session::list))
        .push(Router::with_path("me/sessions/{id}").delete(session::end))
        .push(Router::with_path("users/{id}/sessions").delete(session::end_all))
        .push(Router::with_path("token-keys/rotate").post(token_keys::rotate))
        .push(Router::with_path("me/password").put(users::change_password))
        .push(access())
        .push(Router::with_path("connectors").get(catalog::list))
        .push(Router::with_path("connectors/{connector}").get(catalog::get))
        .push(datasources())
        .push(datasource())
        .push(Router::with_path("approvals").get(approvals::inbox))
        .push(Router::with_path("alerts").get(ontology::alerts))
        .push(Router::with_path("alerts/{id}").get(ontology::alert))
        .push(Router::with_path("entities").get(ontology::entities))
        .push(Router::with_path("entities/{id}").get(ontology::entity))
        .push(Router::with_path("relationships").get(ontology::relationships))
        .push(Router::with_path("relationships/{id}").get(ontology::relationship))
        .push(Router::with_path("audit").get(audit::list))
        .push(Router::with_path("audit/verify").get(audit::verify))
        .push(Router::with_path("audit/export").get(audit::export))
        .push(Router::with_path("audit/stream").get(audit::follow))
        .push(Router::with_path("audit/checkpoints").get(audit::checkpoints))
        .push(Router::with_path("audit/keys").get(audit::keys))
        .push(Router::with_path("audit/{id}").get(audit::get))
}

/// The datasources as a whole.
fn datasources() -> Router {
    Router::with_path("datasources")
        .get(datasources::list)
        .post(datasources::create)
        .push(Router::with_path("bulk").post(bulk::run))
        .push(Router::with_path("validate").post(datasources::validate))
}

/// Who may do what where.
fn access() -> Router {
    Router::new()
        .push(
            Router::with_path("organizations")
                .get(organizations::list)
                .post(organizations::create),
        )
        .push(
            Router::with_path("organizations/{id}")
                .get(organizations::get)
                .put(organizations::update)
                .delete(organizations::delete),
        )
        .push(
            Router::with_path("projects")
                .get(projects::list)
                .post(projects::create),
        )
        .push(
            Router::with_path("projects/{id}")
                .get(projects::get)
                .put(projects::update)
                .delete(projects::delete),
        )
        .push(Router::with_path("users").get(users::list).post(users::create))
        .push(
            Router::with_path("users/{id}")
                .get(users::get)
                .put(users::update)
                .delete(users::delete),
        )
        .push(
            Router::with_path("service-accounts")
                .get(service_accounts::list)
                .post(service_accounts::create),
        )
        .push(
            Router::with_path("service-accounts/{id}")
                .get(service_accounts::get)
                .put(service_accounts::update)
                .delete(service_accounts::delete)
                .push(
                    Router::with_path("tokens")
                        .get(service_accounts::tokens)
                        .post(service_accounts::create_token),
                )
                .push(Router::with_path("tokens/{token}").delete(service_accounts::delete_token)),
        )
        .push(
            Router::with_path("role-bindings")
                .get(role_bindings::list)
                .post(role_bindings::create),
        )
        .push(
            Router::with_path("role-bindings/{id}")
                .get(role_bindings::get)
                .put(role_bindings::update)
                .delete(role_bindings::delete),
        )
}

/// What there is of one datasource.
fn datasource() -> Router {
    Router::with_path("datasources/{id}")
        .get(datasources::get)
        .put(datasources::update)
        .delete(datasources::delete)
        .push(
            Router::with_path("versions")
                .get(versions::list)
                .post(versions::create),
        )
        .push(
            Router::with_path("versions/{number}")
                .get(versions::get)
                .put(versions::edit),
        )
        .push(Router::with_path("versions/{from}/diff/{to}").get(versions::diff))
        .push(Router::with_path("versions/{number}/archive").post(versions::archive))
        .push(Router::with_path("versions/{number}/impact").post(samples::impact))
        .push(
            Router::with_path("versions/{number}/comments")
                .get(comments::list)
                .post(comments::create),
        )
        .push(
            Router::with_path("versions/{number}/comments/{comment}")
                .get(comments::get)
                .put(comments::edit)
                .delete(comments::delete),
        )
        .push(Router::with_path("versions/{number}/comments/{comment}/resolve").post(comments::resolve))
        .push(Router::with_path("versions/{number}/comments/{comment}/reopen").post(comments::reopen))
        .push(
            Router::with_path("approvals")
                .get(approvals::list)
                .post(approvals::request),
        )
        .push(Router::with_path("approvals/{approval}").get(approvals::get))
        .push(Router::with_path("approvals/{approval}/approve").post(approvals::approve))
        .push(Router::with_path("approvals/{approval}/reject").post(approvals::reject))
        .push(Router::with_path("approvals/{approval}/withdraw").post(approvals::withdraw))
        .push(
            Router::with_path("approvals/{approval}/comments")
                .get(approvals::comments)
                .post(approvals::comment),
        )
        .push(
            Router::with_path("samples")
                .get(samples::list)
                .post(samples::save),
        )
        .push(Router::with_path("samples/schema").get(samples::schema))
        .push(
            Router::with_path("samples/{sample}")
                .get(samples::get)
                .delete(samples::delete),
        )
        .push(
            Router::with_path("captures")
                .get(captures::list)
                .post(captures::start),
        )
        .push(
            Router::with_path("captures/{capture}")
                .get(captures::get)
                .delete(captures::stop),
        )
        .push(Router::with_path("schema/accept").post(lifecycle::accept_schema))
        .push(Router::with_path("publish").post(lifecycle::publish))
        .push(Router::with_path("rollback").post(lifecycle::roll_back))
        .push(Router::with_path("clone").post(datasources::clone))
        .push(Router::with_path("owner").post(datasources::delegate))
        .push(Router::with_path("start").post(lifecycle::start))
        .push(Router::with_path("stop").post(lifecycle::stop))
        .push(Router::with_path("restart").post(lifecycle::restart))
        .push(Router::with_path("reload").post(lifecycle::reload))
        .push(Router::with_path("enable").post(lifecycle::enable))
        .push(Router::with_path("disable").post(lifecycle::disable))
        .push(Router::with_path("backfill").post(backfills::create))
        .push(Router::with_path("backfills").get(backfills::list))
        .push(
            Router::with_path("backfills/{backfill}")
                .get(backfills::get)
                .delete(backfills::cancel),
        )
        .push(Router::with_path("test").post(tests::run))
        .push(Router::with_path("secrets").get(secrets::list))
        .push(
            Router::with_path("secrets/{name}")
                .put(secrets::put)
                .delete(secrets::delete),
        )
        .push(Router::with_path("secrets/{name}/rotate").post(secrets::rotate))
        .push(Router::with_path("audit").get(audit::of_datasource))
        .push(Router::with_path("events").get(observe::events))
        .push(Router::with_path("metrics").get(observe::metrics))
        .push(Router::with_path("logs").get(observe::logs))
        .push(Router::with_path("dead-letters").get(dead_letters::list))
        .push(Router::with_path("dead-letters/summary").get(dead_letters::summary))
        .push(Router::with_path("dead-letters/download").get(dead_letters::download))
        .push(Router::with_path("dead-letters/test").post(dead_letters::test))
        .push(Router::with_path("dead-letters/replay").post(dead_letters::replay))
        .push(Router::with_path("dead-letters/{letter}").get(dead_letters::get))
        .push(
            Router::with_path("checkpoint")
                .get(checkpoints::get)
                .put(checkpoints::put)
                .delete(checkpoints::delete),
        )
}

/// All that the gateway answers. `ingest` is the router of accepted events. The paths of datasources work without
/// `/api/v1` too; what their answers name is below it.
pub(crate) fn service(
    app: Arc<App>,
    graphql: Graphql,
    ingest: Option<Router>,
    health: Health,
    edge: Edge,
) -> Service {
    let api = api();
    let description = Description::new(openapi::document(&api));
    let events = Description::new(halcyon_bus::asyncapi::document(env!("CARGO_PKG_VERSION")));
    let probes = Probes {
        health,
        metrics: edge.metrics.clone(),
        local: edge.local_probes,
    };
    let mut plain = Router::new()
        .hoop(NoQuery)
        .push(Router::with_path("api/openapi.json").get(description))
        .push(Router::with_path("api/asyncapi.json").get(events))
        .push(Router::with_path("api/docs").get(Docs))
        .push(Router::with_path("api/docs/{file}").get(Docs))
        .push(Router::with_path(".well-known/jwks.json").get(Jwks(app.tokens.clone())));
    for path in ["livez", "readyz", "healthz", "metrics"] {
        plain = plain.push(Router::with_path(path).get(probes.clone()));
    }
    let mut root = Router::new().get(ToDocs).push(plain).push(
        Router::new()
            .hoop(Measured(edge.metrics))
            .hoop(edge.deadline)
            .hoop(affix_state::inject(app))
            .hoop(edge.rate)
            .push(
                Router::new()
                    .hoop(Idempotency::Rest)
                    .push(api)
                    .push(datasources())
                    .push(datasource()),
            )
            .push(
                Router::with_path("graphql")
                    .hoop(Idempotency::Graphql)
                    .goal(graphql),
            ),
    );
    if let Some(ingest) = ingest {
        root = root.push(ingest);
    }
    Service::new(root)
        .hoop(Context(edge.proxies))
        .hoop(edge.protected)
        .hoop(edge.cors)
        .hoop(CatchPanic::new())
        .catcher(Catcher::new(Problems))
}

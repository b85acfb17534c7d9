//! `node(id:)`: what can be had by its identifier alone. Identifiers are those of REST; they are unique over all
//! kinds of objects, so the kind is found by looking.

use async_graphql::dynamic::{Field, FieldFuture, FieldValue, InputValue, TypeRef};
use halcyon_domain::id::{DatasourceId, ObjectId, OrganizationId, ProjectId};
use serde_json::Value as Json;
use uuid::Uuid;

use super::{
    api::{Api, NODE},
    context::Call,
    error::of_problem,
};
use crate::{
    app::{Error, Result},
    problem::Problem,
};

pub(super) fn add(api: &mut Api) {
    let id = InputValue::new("id", TypeRef::named_nn(TypeRef::ID)).description("The object's identifier.");
    let field = Field::new("node", TypeRef::named(NODE), |ctx| {
        FieldFuture::new(async move {
            let given = ctx.args.try_get("id")?;
            let Ok(id) = given.string().unwrap_or_default().parse() else {
                return Ok(None);
            };
            let call = Call::of(&ctx)?;
            let found = find(&call, id)
                .await
                .map_err(|error| of_problem(&Problem::from(error)))?;
            Ok(found.map(|(kind, json)| FieldValue::owned_any(json).with_type(kind)))
        })
    });
    let about = "An object by its identifier; nothing if there is none, or it is not for the caller to know.";
    api.add_query(field.argument(id).description(about));
}

async fn find(call: &Call, id: Uuid) -> Result<Option<(&'static str, Json)>> {
    let (app, context) = (&call.app, &call.context);
    macro_rules! first {
        ($($kind:literal: $get:expr;)*) => {$(
            match $get.await {
                Ok(found) => return serde_json::to_value(found).map(|json| Some(($kind, json))).map_err(Error::internal),
                Err(Error::NotFound(_) | Error::Forbidden { .. }) => {}
                Err(error) => return Err(error),
            }
        )*};
    }
    first! {
        "Datasource": app.get_datasource(context, DatasourceId(id));
        "Project": app.get_project(context, ProjectId(id));
        "Alert": app.get_alert(context, ObjectId(id));
        "Entity": app.get_entity(context, ObjectId(id));
        "Relationship": app.get_relationship(context, ObjectId(id));
        "Organization": app.get_organization(context, OrganizationId(id));
    }
    Ok(None)
}

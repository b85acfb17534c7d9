//! Organisations, projects, users, service accounts and role bindings.

use halcyon_domain::id::{
    OrganizationId, ProjectId, RoleBindingId, ServiceAccountId, ServiceAccountTokenId, UserId,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    api::Api,
    arguments::{About, At, Change, New, Of, done},
};
use crate::app::{
    ChangePassword, CreateOrganization, CreateProject, CreateRoleBinding, CreateServiceAccount,
    CreateServiceAccountToken, CreateUser, ListOrganizations, ListProjects, ListRoleBindings,
    ListServiceAccountTokens, ListServiceAccounts, ListUsers, UpdateOrganization, UpdateProject,
    UpdateRoleBinding, UpdateServiceAccount, UpdateUser,
};

/// Whose tokens.
#[derive(Deserialize, JsonSchema)]
struct Tokens {
    /// The service account.
    service_account: ServiceAccountId,
    #[serde(flatten)]
    list: ListServiceAccountTokens,
}

/// Which token.
#[derive(Deserialize, JsonSchema)]
struct Token {
    /// The service account.
    service_account: ServiceAccountId,
    /// The token's identifier.
    id: ServiceAccountTokenId,
}

/// The five operations that each of these kinds of objects has.
macro_rules! kinds {
    ($api:ident: $($id:ty {
        $list_id:literal $list_name:literal $list_input:ty => $list:ident,
        $get_id:literal $get_name:literal => $get:ident,
        $create_id:literal $create_input:ty => $create:ident,
        $update_id:literal $update_input:ty => $update:ident,
        $delete_id:literal => $delete:ident,
    })*) => {$(
        $api.page($list_id, $list_name, |call, list: $list_input| async move {
            call.app.$list(&call.context, list).await
        });
        $api.query($get_id, $get_name, |call, of: Of<$id>| async move {
            call.app.$get(&call.context, of.id).await
        });
        $api.mutation($create_id, |call, new: New<$create_input>| async move {
            call.app.$create(&call.context, new.input).await
        });
        $api.mutation($update_id, |call, change: Change<$id, $update_input>| async move {
            let if_match = change.if_match();
            call.app.$update(&call.context, change.id, change.input, if_match).await
        });
        $api.mutation($delete_id, |call, at: At<$id>| async move {
            call.app.$delete(&call.context, at.id, at.if_match()).await.map(done)
        });
    )*};
}

pub(super) fn add(api: &mut Api) {
    for kind in ["Organization", "Project"] {
        api.node(kind);
    }
    kinds! { api:
        OrganizationId {
            "listOrganizations" "organizations" ListOrganizations => list_organizations,
            "getOrganization" "organization" => get_organization,
            "createOrganization" CreateOrganization => create_organization,
            "updateOrganization" UpdateOrganization => update_organization,
            "deleteOrganization" => delete_organization,
        }
        ProjectId {
            "listProjects" "projects" ListProjects => list_projects,
            "getProject" "project" => get_project,
            "createProject" CreateProject => create_project,
            "updateProject" UpdateProject => update_project,
            "deleteProject" => delete_project,
        }
        UserId {
            "listUsers" "users" ListUsers => list_users,
            "getUser" "user" => get_user,
            "createUser" CreateUser => create_user,
            "updateUser" UpdateUser => update_user,
            "deleteUser" => delete_user,
        }
        ServiceAccountId {
            "listServiceAccounts" "serviceAccounts" ListServiceAccounts => list_service_accounts,
            "getServiceAccount" "serviceAccount" => get_service_account,
            "createServiceAccount" CreateServiceAccount => create_service_account,
            "updateServiceAccount" UpdateServiceAccount => update_service_account,
            "deleteServiceAccount" => delete_service_account,
        }
        RoleBindingId {
            "listRoleBindings" "roleBindings" ListRoleBindings => list_role_bindings,
            "getRoleBinding" "roleBinding" => get_role_binding,
            "createRoleBinding" CreateRoleBinding => create_role_binding,
            "updateRoleBinding" UpdateRoleBinding => update_role_binding,
            "deleteRoleBinding" => delete_role_binding,
        }
    }
    api.mutation("changePassword", |call, new: New<ChangePassword>| async move {
        call.app.change_password(&call.context, new.input).await.map(done)
    });
    tokens(api);
}

fn tokens(api: &mut Api) {
    api.page(
        "listServiceAccountTokens",
        "serviceAccountTokens",
        |call, of: Tokens| async move {
            call.app
                .list_service_account_tokens(&call.context, of.service_account, of.list)
                .await
        },
    );
    type Make = About<ServiceAccountId, CreateServiceAccountToken>;
    api.mutation("createServiceAccountToken", |call, about: Make| async move {
        call.app
            .create_service_account_token(&call.context, about.id, about.input)
            .await
    });
    api.mutation("deleteServiceAccountToken", |call, of: Token| async move {
        call.app
            .delete_service_account_token(&call.context, of.service_account, of.id)
            .await
            .map(done)
    });
}

//! The connector catalog.

use halcyon_connectors::{ConnectorSpec, find, specs};

use super::{App, Error, RequestContext, Result, access::Action, views::List};

impl App {
    /// Every connector.
    ///
    /// # Errors
    /// The caller may not see the catalog.
    pub async fn list_connectors(&self, context: &RequestContext) -> Result<List<&'static ConnectorSpec>> {
        self.may_see_catalog(context).await?;
        Ok(List::whole(specs().collect()))
    }

    /// A connector, with its form, samples and presets.
    ///
    /// # Errors
    /// There is none of this type.
    pub async fn get_connector(
        &self,
        context: &RequestContext,
        type_name: &str,
    ) -> Result<&'static ConnectorSpec> {
        self.may_see_catalog(context).await?;
        find(type_name)
            .map(|connector| connector.spec())
            .ok_or(Error::NotFound("connector"))
    }

    /// The catalog tells nothing of any tenant: whoever has a role anywhere may see it.
    async fn may_see_catalog(&self, context: &RequestContext) -> Result<()> {
        let permission = Action::READ_CATALOG.permission;
        if context
            .principal
            .grants
            .iter()
            .any(|grant| grant.role.allows(permission))
        {
            return Ok(());
        }
        self.authorize_tenant(context, Action::READ_CATALOG).await
    }
}

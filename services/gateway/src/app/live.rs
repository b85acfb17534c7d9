//! What happens, as it happens: state, numbers, history, log lines and committed objects of datasources. Each is
//! followed once for the whole process; whoever loses the right to see it sees it no more.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use halcyon_bus::objects::PublicObject;
use halcyon_domain::{
    access::Permission,
    assignment::LogLine,
    clock::Timestamp,
    datasource::{DatasourceEvent, DatasourceMetrics, DatasourceState},
    id::{DatasourceId, OrganizationId},
    ontology::ObjectKind,
};
use halcyon_store::{EventFilter, PageRequest, Store, Tenant};

use super::{
    App, Error, ListLogs, RequestContext, Result, Watched,
    access::Action,
    fanout::{Fanout, FellBehind},
};

/// How often the database is asked for what workers reached, once for all who follow a datasource.
const LOOK: Duration = Duration::from_secs(1);

/// Something that is followed.
pub type Live<T> = BoxStream<'static, std::result::Result<T, FellBehind>>;

/// A datasource's state and numbers at a time.
#[derive(Clone, Debug, PartialEq)]
struct Reached {
    state: DatasourceState,
    metrics: DatasourceMetrics,
}

type Feed = (OrganizationId, DatasourceId);
type ObjectTopic = (OrganizationId, Option<DatasourceId>, ObjectKind);

/// What is followed in this process.
#[derive(Default)]
pub(crate) struct Followed {
    reached: Fanout<Feed, Arc<Reached>>,
    events: Fanout<Feed, Arc<DatasourceEvent>>,
    logs: Fanout<Feed, Arc<LogLine>>,
    objects: Fanout<ObjectTopic, Arc<PublicObject>>,
}

#[cfg(test)]
impl Followed {
    /// How much is followed.
    pub(crate) fn topics(&self) -> usize {
        self.reached.topics() + self.events.topics() + self.logs.topics() + self.objects.topics()
    }
}

impl App {
    /// A datasource's state: as it is now, then each time it changes.
    ///
    /// # Errors
    /// There is no such datasource.
    pub async fn follow_state(
        self: &Arc<Self>,
        context: &RequestContext,
        id: DatasourceId,
    ) -> Result<Live<DatasourceState>> {
        self.follow_reached(context, id, |reached| reached.state.clone())
            .await
    }

    /// A datasource's numbers: as they are now, then each time they change.
    ///
    /// # Errors
    /// There is no such datasource.
    pub async fn follow_metrics(
        self: &Arc<Self>,
        context: &RequestContext,
        id: DatasourceId,
    ) -> Result<Live<DatasourceMetrics>> {
        self.follow_reached(context, id, |reached| reached.metrics.clone())
            .await
    }

    async fn follow_reached<T>(
        self: &Arc<Self>,
        context: &RequestContext,
        id: DatasourceId,
        part: impl Fn(&Reached) -> T + Send + 'static,
    ) -> Result<Live<T>>
    where
        T: Clone + PartialEq + Send + 'static,
    {
        let datasource = self.datasource(context, id, Action::READ).await?;
        let feed = (datasource.organization, id);
        let open = || std::future::ready(Ok::<_, Error>(reached(self.store.clone(), feed)));
        let followed = self.followed.reached.follow(feed, open).await?;
        // Those who come later see at once what is, too.
        let first = look(&self.store, feed).await?.map(|now| Ok(Arc::new(now)));
        let followed = stream::iter(first)
            .chain(followed)
            .map(move |item| item.map(|reached| part(&reached)));
        let mut last = None;
        let changed = followed.filter(move |item| {
            let is_new = item.as_ref().map_or(true, |now| last.as_ref() != Some(now));
            if let Ok(now) = item {
                last = Some(now.clone());
            }
            std::future::ready(is_new)
        });
        let standing = self.watch_access(context, Watched::Datasource(Permission::DatasourceRead, id));
        Ok(standing.guard(changed).boxed())
    }

    /// A datasource's history, as rows are added to it.
    ///
    /// # Errors
    /// There is no such datasource.
    pub async fn follow_events(
        self: &Arc<Self>,
        context: &RequestContext,
        id: DatasourceId,
    ) -> Result<Live<Arc<DatasourceEvent>>> {
        let datasource = self.datasource(context, id, Action::READ).await?;
        let feed = (datasource.organization, id);
        let since = self.clock.now();
        let open = || std::future::ready(Ok::<_, Error>(events(self.store.clone(), feed, since)));
        let followed = self.followed.events.follow(feed, open).await?;
        let standing = self.watch_access(context, Watched::Datasource(Permission::DatasourceRead, id));
        Ok(standing.guard(followed).boxed())
    }

    /// A datasource's log lines, as they are written.
    ///
    /// # Errors
    /// There is no such datasource, or the bus cannot be reached.
    pub async fn follow_lines(
        self: &Arc<Self>,
        context: &RequestContext,
        id: DatasourceId,
        query: ListLogs,
    ) -> Result<Live<Arc<LogLine>>> {
        let datasource = self.datasource(context, id, Action::READ).await?;
        let feed = (datasource.organization, id);
        let open = || async {
            let lines = self.services.follow_log(feed.0, feed.1, 0).await?;
            Ok::<_, Error>(lines.map(Arc::new))
        };
        let followed = self.followed.logs.follow(feed, open).await?;
        let wanted = followed
            .filter(move |item| std::future::ready(item.as_ref().map_or(true, |line| query.matches(line))));
        let standing = self.watch_access(context, Watched::Datasource(Permission::DatasourceRead, id));
        Ok(standing.guard(wanted).boxed())
    }

    /// Objects of a kind as they are committed: those of one datasource, or of the whole organisation.
    ///
    /// # Errors
    /// The caller may not see them, or the bus cannot be reached.
    pub async fn follow_objects(
        self: &Arc<Self>,
        context: &RequestContext,
        datasource: Option<DatasourceId>,
        kind: ObjectKind,
    ) -> Result<Live<Arc<PublicObject>>> {
        let permission = Action::READ_ONTOLOGY.permission;
        let watched = match datasource {
            Some(id) => {
                self.datasource(context, id, Action::READ_ONTOLOGY).await?;
                Watched::Datasource(permission, id)
            }
            None => {
                self.authorize_tenant(context, Action::READ_ONTOLOGY).await?;
                Watched::Organization(permission)
            }
        };
        let topic = (context.organization(), datasource, kind);
        let open = || async {
            let objects = self.services.follow_objects(topic.0, topic.1, topic.2).await?;
            Ok::<_, Error>(objects.map(Arc::new))
        };
        let followed = self.followed.objects.follow(topic, open).await?;
        Ok(self.watch_access(context, watched).guard(followed).boxed())
    }
}

async fn look(store: &Store, (organization, id): Feed) -> Result<Option<Reached>> {
    let found = store.read().states().find(Tenant(organization), id).await?;
    Ok(found.map(|record| Reached {
        state: record.state,
        metrics: record.metrics,
    }))
}

/// What workers reached, each time that it is something else.
fn reached(store: Store, feed: Feed) -> impl Stream<Item = Arc<Reached>> + Send {
    let looks = stream::unfold(store, move |store| async move {
        tokio::time::sleep(LOOK).await;
        let found = look(&store, feed).await;
        // A database that is gone for a while says nothing new.
        Some((found.ok().flatten(), store))
    });
    let mut last = None;
    looks.filter_map(move |found| {
        let news = found.filter(|now| last.as_ref() != Some(now));
        if let Some(now) = &news {
            last = Some(now.clone());
        }
        std::future::ready(news.map(Arc::new))
    })
}

/// How far back rows are looked for: the clocks of two processes differ, and a row is written after its time.
const OVERLAP: chrono::TimeDelta = chrono::TimeDelta::seconds(30);

/// Rows of a datasource's history that were not there before.
fn events(store: Store, feed: Feed, since: Timestamp) -> impl Stream<Item = Arc<DatasourceEvent>> + Send {
    let state = (store, since, None::<HashSet<_>>);
    let looks = stream::unfold(state, move |(store, since, seen)| async move {
        if seen.is_some() {
            tokio::time::sleep(LOOK).await;
        }
        let filter = EventFilter {
            from: Some(since - OVERLAP),
            ..EventFilter::default()
        };
        let page = PageRequest {
            limit: halcyon_store::MAX_LIMIT,
            ..PageRequest::default()
        };
        let read = store.read();
        let Ok(page) = read
            .datasource_events()
            .list(Tenant(feed.0), feed.1, &filter, &page)
            .await
        else {
            tokio::time::sleep(LOOK).await;
            return Some((Vec::new(), (store, since, seen)));
        };
        let newest = page
            .items
            .iter()
            .map(|event| event.at)
            .max()
            .unwrap_or(since)
            .max(since);
        let ids: HashSet<_> = page.items.iter().map(|event| event.id).collect();
        let mut news = page.items;
        // What was there at the first look is known.
        news.retain(|event| seen.as_ref().is_some_and(|seen| !seen.contains(&event.id)));
        news.reverse();
        Some((news, (store, newest, Some(ids))))
    });
    looks.flat_map(|news| stream::iter(news.into_iter().map(Arc::new)))
}

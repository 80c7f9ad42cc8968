//! The live feed over HTTP: server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};
use utoipa::IntoParams;

use super::auth::{Credential, Held};
use super::error::Problem;
use super::extract::{Params, parse, parse_list};
use super::sight::Sight;
use super::state::Hub;
use crate::live::{Cursor, Subscription, event};
use crate::model::{AssetNumber, Right};
use crate::registry::User;

/// After three missed beats a page says that it is stale.
const BEAT: Duration = Duration::from_secs(10);

/// Where to go on, and which values are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LiveParams {
    /// The event id (`epoch-seq`) to go on from, as the map gave it; absent: now. `Last-Event-ID` goes before it.
    since: Option<String>,
    /// The numbers of up to 64 assets whose values are wanted, separated by commas.
    assets: Option<String>,
}

/// What changes, as it changes.
///
/// Events: `hello {epoch,seq,at}`; `state [[asset,severity,acknowledged,freshness,state|null,grade],...]`; `alert` (an
/// Alert); `trouble {id,code,severity,since,ended_at|null}` (of the hub itself: read the troubles again); `value [[asset,device,metric,value|null,grade,reason|null,observed_at_ms],...]`; `reload {reason}` (read the map
/// and the alerts again); `beat {at}` every 10 s.
#[utoipa::path(
    get, path = "/api/v1/live", tag = "map",
    params(LiveParams, ("Last-Event-ID" = Option<String>, Header, description = "Sent by the browser when it comes back")),
    responses((status = 200, content_type = "text/event-stream", body = String))
)]
pub(crate) async fn stream(
    State(hub): State<Hub>,
    Params(params): Params<LiveParams>,
    sight: Sight,
    Held(holder): Held,
    credential: Credential,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let since = since(&params, &headers)?;
    let assets = parse_list::<u32>("assets", params.assets.as_deref())?;
    let assets = assets.into_iter().map(AssetNumber).collect();
    let subscription = hub.feed.subscribe_with(since, assets, sight.filter(&hub.registry))?;
    let page = Page::new(Arc::clone(&hub), subscription, credential, holder.user);
    let events = futures_util::stream::unfold(page, |mut page| async move {
        let chunk = page.next().await?;
        Some((Ok::<Bytes, Infallible>(chunk), page))
    });
    let headers = [
        (CONTENT_TYPE.as_str(), "text/event-stream"),
        (CACHE_CONTROL.as_str(), "no-store"),
        // Tells a proxy in front of us not to hold events back.
        ("x-accel-buffering", "no"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// The browser's own place goes first: the address still says where the page started.
fn since(params: &LiveParams, headers: &HeaderMap) -> Result<Option<Cursor>, Problem> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    match last.filter(|id| !id.is_empty()) {
        Some(id) => parse("Last-Event-ID", Some(id)),
        None => parse("since", params.since.as_deref()),
    }
}

/// One open page.
struct Page {
    hub: Hub,
    subscription: Subscription,
    credential: Credential,
    /// Who opened it.
    user: User,
    beat: Interval,
    greeted: bool,
}

impl Page {
    fn new(hub: Hub, subscription: Subscription, credential: Credential, user: User) -> Self {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once; the greeting stands for it.
        beat.reset();
        Page { hub, subscription, credential, user, beat, greeted: false }
    }

    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            self.greeted = true;
            return Some(self.hello());
        }
        tokio::select! {
            events = self.subscription.next() => events,
            _ = self.beat.tick() => self.beat(),
        }
    }

    fn hello(&self) -> Bytes {
        let at = self.subscription.cursor();
        let body = json!({"epoch": at.epoch, "seq": at.seq, "at": self.hub.clock.now()});
        event("hello", at, &body.to_string())
    }

    /// A stream outlives the request that opened it, so it asks again whether its session still stands, with the same zones.
    fn beat(&self) -> Option<Bytes> {
        let holder = self.hub.registry.holder(&self.credential.secret)?;
        let same =
            holder.may(Right::View) && !holder.must_change && holder.user.zones == self.user.zones;
        if !same {
            return None;
        }
        let body = json!({"at": self.hub.clock.now()});
        Some(event("beat", self.subscription.cursor(), &body.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browsers_own_place_goes_first() {
        let params = LiveParams { since: Some("7-1".into()), ..LiveParams::default() };
        let mut headers = HeaderMap::new();
        let at = |seq| Some(Cursor { epoch: 7, seq });
        assert_eq!(since(&params, &headers).unwrap(), at(1));
        headers.insert("last-event-id", "7-9".parse().unwrap());
        assert_eq!(since(&params, &headers).unwrap(), at(9));
        headers.insert("last-event-id", "soon".parse().unwrap());
        assert!(format!("{:?}", since(&params, &headers)).contains("epoch-seq"));
        assert_eq!(since(&LiveParams::default(), &HeaderMap::new()).unwrap(), None);
    }
}

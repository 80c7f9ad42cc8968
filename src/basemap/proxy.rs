//! Tiles of a map server: the page asks the hub, the hub asks the one configured server, so that its key stays here.
//!
//! Never an open proxy: a request names a layer, a zoom, a column and a row, and these are numbers put into a template. No
//! redirect is followed, only pictures come back, and size, time, requests at once and memory are bounded.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::CONTENT_TYPE;
use reqwest::{StatusCode, Url};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::cache::{Cache, Known};
use super::{Base, BaseMapError, Ground, Tile, TilePlace};
use crate::config::MapConfig;

/// The largest tile. Satellite pictures of 512 pixels stay below it.
const MAX_TILE_BYTES: usize = 1024 * 1024;
/// Requests to the map server at a time: what a browser allows itself.
const REQUESTS: usize = 6;
/// How long a request waits for one of them.
const PATIENCE: Duration = Duration::from_secs(4);
/// The national map service. It names the town's ground in Web Mercator (`_w`), drawn in CGCS2000.
const TIANDITU: &str = "https://t0.tianditu.gov.cn";

/// Where a layer's tiles are: an http or https address with `{z}`, `{x}`, `{y}`, and `{key}` for the server's key. They may
/// stand behind the host only.
#[derive(Clone, PartialEq, Eq)]
pub struct Template(String);

/// Why a text is no template. Never carries the text: every page is told why there is no base map, and a key may stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No address.
    #[error(
        "it is no http or https address; write for example https://tiles.example/{{z}}/{{x}}/{{y}}.png"
    )]
    NoUrl,
    /// A part is missing, or stands in the host.
    #[error("it needs {{z}}, {{x}} and {{y}} behind its host")]
    Places,
    /// A key is asked for and none is there, or the other way round.
    #[error("it and map.key_file must both name the key ({{key}}), or neither")]
    Key,
}

impl Template {
    /// Checks a template.
    ///
    /// # Errors
    /// When it is no address, or a placeholder is missing or stands in the host.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        let url = Url::parse(text).map_err(|_| TemplateError::NoUrl)?;
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() {
            return Err(TemplateError::NoUrl);
        }
        let host_ends = text.find("//").and_then(|at| {
            let rest = &text[at + 2..];
            rest.find(['/', '?']).map(|end| at + 2 + end)
        });
        let (host, rest) = text.split_at(host_ends.unwrap_or(text.len()));
        let is_whole = ["{z}", "{x}", "{y}"].iter().all(|part| rest.contains(part));
        if host.contains('{') || !is_whole {
            return Err(TemplateError::Places);
        }
        Ok(Template(text.to_owned()))
    }

    fn wants_key(&self) -> bool {
        self.0.contains("{key}")
    }

    fn url(&self, place: TilePlace, key: &str) -> Result<Url, TemplateError> {
        let text = self
            .0
            .replace("{z}", &place.z.to_string())
            .replace("{x}", &place.x.to_string())
            .replace("{y}", &place.y.to_string())
            .replace("{key}", key);
        Url::parse(&text).map_err(|_| TemplateError::NoUrl)
    }
}

/// Why the map server gives no tile. Never carries the address: the key is in it.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Too many tiles at once.
    #[error("too many tiles are asked for at once; they come when the map is asked again")]
    Busy,
    /// Slower than `map.timeout`.
    #[error("the map server did not answer in time")]
    Slow,
    /// No connection, or it broke.
    #[error("the map server cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It refuses.
    #[error("the map server answers {0}; a 401 or 403 is about its key")]
    Refused(StatusCode),
    /// It sends something else.
    #[error("the map server sends `{0}`, which is no picture; a wrong key is often told as a page")]
    NoPicture(String),
    /// It sends too much.
    #[error("the map server sends a tile larger than {MAX_TILE_BYTES} bytes")]
    TooLarge,
    /// The address cannot be built.
    #[error("a tile has no address")]
    Address(#[from] TemplateError),
}

/// The way to a map server.
pub(super) struct Proxy {
    client: reqwest::Client,
    layers: Vec<(&'static str, Template)>,
    key: String,
    zooms: (u8, u8),
    timeout: Duration,
    turns: Semaphore,
    cache: Mutex<Cache<(usize, TilePlace)>>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let layers: Vec<_> = self.layers.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Proxy").field("layers", &layers).finish_non_exhaustive()
    }
}

impl Proxy {
    pub(super) fn new(config: &MapConfig, key: Option<&str>) -> Result<Self, BaseMapError> {
        let layers = layers(config)?;
        for (_, template) in &layers {
            if template.wants_key() != key.is_some() {
                return Err(TemplateError::Key.into());
            }
        }
        Ok(Proxy {
            client: client().map_err(|why| BaseMapError::Client(ProxyError::Unreachable(why)))?,
            layers,
            key: key.unwrap_or_default().to_owned(),
            zooms: (config.min_zoom, config.max_zoom),
            timeout: config.timeout,
            turns: Semaphore::new(REQUESTS),
            cache: Mutex::new(Cache::new(config.cache_mb.saturating_mul(1024 * 1024))),
        })
    }

    pub(super) fn ground(&self) -> Ground {
        let layers = self.layers.iter().map(|(name, _)| *name).collect();
        Ground::Raster { layers, zooms: self.zooms, bounds: None }
    }

    pub(super) async fn tile(
        &self,
        layer: &str,
        place: TilePlace,
    ) -> Result<Option<Tile>, ProxyError> {
        let found = self.layers.iter().enumerate().find(|(_, (name, _))| *name == layer);
        let Some((index, (_, template))) = found else { return Ok(None) };
        if !(self.zooms.0..=self.zooms.1).contains(&place.z) {
            return Ok(None);
        }
        let key = (index, place);
        let old = match self.cache().get(key, Instant::now()) {
            Some(Known::Fresh(tile)) => return Ok(tile),
            Some(Known::Old(tile)) => Some(tile),
            None => None,
        };
        match self.fetch(template, key).await {
            Ok(tile) => Ok(tile),
            Err(why) => old.ok_or(why),
        }
    }

    async fn fetch(
        &self,
        template: &Template,
        key: (usize, TilePlace),
    ) -> Result<Option<Tile>, ProxyError> {
        let turn = timeout(PATIENCE, self.turns.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(ProxyError::Busy)?;
        // Whoever waited may find that somebody before fetched the same tile.
        if let Some(Known::Fresh(tile)) = self.cache().get(key, Instant::now()) {
            return Ok(tile);
        }
        let url = template.url(key.1, &self.key)?;
        let tile = timeout(self.timeout, self.read(url)).await.map_err(|_| ProxyError::Slow)??;
        self.cache().put(key, tile.clone(), Instant::now());
        Ok(tile)
    }

    async fn read(&self, url: Url) -> Result<Option<Tile>, ProxyError> {
        let unreachable = |why: reqwest::Error| ProxyError::Unreachable(why.without_url());
        let mut answer = self.client.get(url).send().await.map_err(unreachable)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::NO_CONTENT => return Ok(None),
            other => return Err(ProxyError::Refused(other)),
        }
        let said = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let said = said.unwrap_or_default();
        let media =
            picture(said).ok_or_else(|| ProxyError::NoPicture(said.chars().take(60).collect()))?;
        let mut bytes = BytesMut::new();
        while let Some(more) = answer.chunk().await.map_err(unreachable)? {
            if bytes.len() + more.len() > MAX_TILE_BYTES {
                return Err(ProxyError::TooLarge);
            }
            bytes.extend_from_slice(&more);
        }
        Ok(Some(Tile { bytes: Bytes::from(bytes), media, gzip: false }))
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache<(usize, TilePlace)>> {
        // What stands in it is whole after every call: a panic elsewhere does not spoil it.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pictures that browsers draw; what a server calls its answer is never handed on as it is.
fn picture(said: &str) -> Option<&'static str> {
    let kind = said.split(';').next().unwrap_or_default().trim();
    ["image/png", "image/jpeg", "image/webp", "image/avif"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(kind))
}

fn layers(config: &MapConfig) -> Result<Vec<(&'static str, Template)>, TemplateError> {
    if config.base == Base::Xyz {
        return Ok(vec![("base", Template::new(config.url.as_deref().unwrap_or_default())?)]);
    }
    let host = config.url.as_deref().unwrap_or(TIANDITU).trim_end_matches('/');
    let set = |set: &str| {
        Template::new(&format!(
            "{host}/{set}_w/wmts?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER={set}&STYLE=default\
             &TILEMATRIXSET=w&FORMAT=tiles&TILEMATRIX={{z}}&TILEROW={{y}}&TILECOL={{x}}&tk={{key}}"
        ))
    };
    // The ground, and the names that belong onto it.
    let (ground, names) = if config.satellite { ("img", "cia") } else { ("vec", "cva") };
    Ok(vec![("base", set(ground)?), ("labels", set(names)?)])
}

/// TLS by ring with the system's certificates; no redirect and no proxy: a key goes to its server and nowhere else.
fn client() -> Result<reqwest::Client, reqwest::Error> {
    // Somebody else may have said so before: it is the same provider then.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("townhub/", env!("CARGO_PKG_VERSION")))
        .build()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::extract::{Path, State};
    use axum::http::header::LOCATION;
    use axum::response::{IntoResponse, Response};
    use axum::routing::get;

    use super::*;
    use crate::basemap::{BaseMap, TileError};

    #[test]
    fn a_template_names_one_host_and_a_tile() {
        let check =
            |text: &str, good: bool| assert_eq!(Template::new(text).is_ok(), good, "{text}");
        check("https://tiles.example/{z}/{x}/{y}.png", true);
        check("http://tiles.example:8080/wmts?z={z}&x={x}&y={y}&tk={key}", true);
        check("http://tiles.example?z={z}&x={x}&y={y}", true);
        check("https://{x}.tiles.example/{z}/{y}.png", false);
        check("https://{key}.example/{z}/{x}/{y}.png", false);
        check("https://tiles.example/{z}/{x}.png", false);
        check("file:///etc/{z}/{x}/{y}", false);
        check("https://user:word@tiles.example/{z}/{x}/{y}", false);
        check("", false);
        check("{z}{x}{y}", false);
    }

    /// A map server that counts, and misbehaves by column.
    async fn server() -> (String, Arc<AtomicUsize>) {
        async fn tile(
            State(asked): State<Arc<AtomicUsize>>,
            Path((key, _, x, _)): Path<(String, u8, u32, u32)>,
        ) -> Response {
            asked.fetch_add(1, Ordering::Relaxed);
            let png = [(CONTENT_TYPE.as_str(), "image/png")];
            match (key.as_str(), x) {
                ("s3cret", 0) => (png, "picture").into_response(),
                ("s3cret", 1) => {
                    (StatusCode::FOUND, [(LOCATION, "http://127.0.0.1:9/")]).into_response()
                }
                ("s3cret", 2) => "<html>wrong key</html>".into_response(),
                ("s3cret", 3) => (png, vec![0; MAX_TILE_BYTES + 1]).into_response(),
                ("s3cret", 4) => StatusCode::NOT_FOUND.into_response(),
                ("s3cret", 5) => std::future::pending().await,
                ("s3cret", 6) => StatusCode::BAD_GATEWAY.into_response(),
                _ => StatusCode::FORBIDDEN.into_response(),
            }
        }
        let asked = Arc::new(AtomicUsize::new(0));
        let router =
            Router::new().route("/{key}/{z}/{x}/{y}", get(tile)).with_state(Arc::clone(&asked));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (format!("http://{address}/{{key}}/{{z}}/{{x}}/{{y}}"), asked)
    }

    async fn opened(url: String, timeout: Duration) -> BaseMap {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let config = MapConfig {
            base: Base::Xyz,
            url: Some(url),
            key_file: Some(file.path().to_owned()),
            timeout,
            ..MapConfig::default()
        };
        let map = BaseMap::open(&config).await;
        assert_eq!(map.problem(), None);
        map
    }

    fn place(x: u32) -> TilePlace {
        TilePlace::new(4, x, 0).unwrap()
    }

    #[tokio::test]
    async fn a_tile_is_fetched_once_and_only_pictures_come_through() {
        let (url, asked) = server().await;
        let map = opened(url, Duration::from_secs(5)).await;
        for _ in 0..3 {
            let tile = map.tile("base", place(0)).await.unwrap().unwrap();
            assert_eq!((&tile.bytes[..], tile.media), (&b"picture"[..], "image/png"));
            assert_eq!(map.tile("base", place(4)).await.unwrap(), None, "no such tile");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert_eq!(map.tile("labels", place(0)).await.unwrap(), None, "no such layer");
        let below = TilePlace::new(21, 0, 0).unwrap();
        assert_eq!(map.tile("base", below).await.unwrap(), None, "deeper than the server's maps");
        assert_eq!(asked.load(Ordering::Relaxed), 2, "the server was not asked for those");
        for (x, said) in [
            (1, "answers 302"),
            (2, "`text/plain; charset=utf-8`, which is no picture"),
            (3, "larger than 1048576 bytes"),
            (6, "answers 502"),
        ] {
            let why = map.tile("base", place(x)).await.expect_err("refused");
            let text = crate::error_chain(&why);
            assert!(text.contains(said), "{text} should say {said}");
            assert!(!format!("{why:?}{text}").contains("s3cret"), "the key is out: {why:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_hangs_or_is_gone_is_an_error_without_the_key() {
        let (url, _) = server().await;
        let map = opened(url, Duration::from_millis(50)).await;
        let why = map.tile("base", place(5)).await.expect_err("hangs");
        assert!(matches!(why, TileError::Proxy(ProxyError::Slow)), "{why:?}");
        let map =
            opened("http://127.0.0.1:9/{z}/{x}/{y}?tk={key}".to_owned(), Duration::from_secs(5))
                .await;
        let why = map.tile("base", place(0)).await.expect_err("nobody listens");
        let text = format!("{} {why:?} {map:?}", crate::error_chain(&why));
        assert!(text.contains("cannot be reached") && !text.contains("s3cret"), "{text}");
    }

    #[tokio::test]
    async fn a_key_and_its_place_belong_together() {
        let config = MapConfig { base: Base::Tianditu, ..MapConfig::default() };
        let map = BaseMap::open(&config).await;
        assert!(map.problem().is_some_and(|why| why.contains("map.key_file")), "{map:?}");
        assert_eq!(layers(&config).unwrap().len(), 2);
        let satellite = MapConfig { satellite: true, ..config };
        assert!(layers(&satellite).unwrap()[0].1.0.contains("/img_w/wmts?"));
    }
}

//! The ground beneath the town's things: a schematic that the console brings along, a file, or a map server's pictures.
//!
//! Takes the configuration's `[map]`; hands on what the ground is ([`BaseMap::ground`]) and its tiles. A page asks the hub
//! for every tile and never another host: the map server's key stays here, and the content security policy stays
//! `default-src 'self'`. A file that cannot be used does not stop a hub that watches a town: the schematic stands in, and
//! [`BaseMap::problem`] says why.
//!
//! *Never here: a thing of the town; a host that is not the configured one.*

mod archive;
mod cache;
mod proxy;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::error;

use crate::config::MapConfig;
use archive::Archive;
pub use archive::ArchiveError;
use proxy::Proxy;
pub use proxy::{ProxyError, Template, TemplateError};

/// The largest GeoJSON base map: a browser draws it whole.
pub const MAX_DOCUMENT_BYTES: u64 = 32 * 1024 * 1024;

/// Which base map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// The console's own drawing, not to be measured on.
    #[default]
    Schematic,
    /// A GeoJSON or PMTiles file.
    File,
    /// The national map service 天地图.
    Tianditu,
    /// Any server of pictures by zoom, column and row.
    Xyz,
}

/// The coordinates in which a base map is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Datum {
    /// WGS-84, or CGCS2000, which is the same to a centimetre.
    #[default]
    Wgs84,
    /// Shifted, as the maps of Chinese providers are.
    Gcj02,
}

/// What a page draws as ground.
#[derive(Debug, Clone, PartialEq)]
pub enum Ground {
    /// The drawing that the console brings along.
    Schematic,
    /// One GeoJSON document.
    Document,
    /// Pictures, the lowest layer first.
    Raster {
        /// The layers' names in [`BaseMap::tile`].
        layers: Vec<&'static str>,
        /// The least and the greatest zoom.
        zooms: (u8, u8),
        /// West, south, east, north in degrees, when the source says so.
        bounds: Option<[f64; 4]>,
    },
    /// Vector tiles (MVT).
    Vector {
        /// The names of the layers in the tiles, as far as the archive tells them.
        parts: Vec<String>,
        /// The least and the greatest zoom.
        zooms: (u8, u8),
        /// West, south, east, north in degrees.
        bounds: Option<[f64; 4]>,
    },
}

/// A tile, as it goes out.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its media type.
    pub media: &'static str,
    /// Whether the bytes are gzip.
    pub gzip: bool,
}

/// A tile's place: the usual square tiles of Web Mercator, row 0 in the north.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TilePlace {
    /// Zoom.
    z: u8,
    /// Column from the west.
    x: u32,
    /// Row from the north.
    y: u32,
}

/// The deepest zoom of any base map.
pub const MAX_ZOOM: u8 = 22;

impl TilePlace {
    /// `None` when there is no such tile on earth, or it lies deeper than [`MAX_ZOOM`].
    pub fn new(z: u8, x: u32, y: u32) -> Option<Self> {
        let side = 1_u32.checked_shl(u32::from(z)).filter(|_| z <= MAX_ZOOM)?;
        (x < side && y < side).then_some(TilePlace { z, x, y })
    }
}

/// Why there is no tile.
#[derive(Debug, thiserror::Error)]
pub enum TileError {
    /// The archive.
    #[error("the base map's archive cannot be read")]
    Archive(#[from] ArchiveError),
    /// The map server.
    #[error("the map server gives no tile")]
    Proxy(#[from] ProxyError),
}

/// Why a base map cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaseMapError {
    /// The file or the key's file cannot be read.
    #[error("cannot read {}; put a readable file there or change the configuration's map", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too large to be sent whole.
    #[error(
        "{} has {bytes} bytes; a GeoJSON base map has at most {MAX_DOCUMENT_BYTES}: make a .pmtiles of it",
        file.display()
    )]
    TooLarge {
        /// Which.
        file: PathBuf,
        /// How large it is.
        bytes: u64,
    },
    /// The file is no GeoJSON.
    #[error("{} is no GeoJSON feature collection", file.display())]
    NotGeoJson {
        /// Which.
        file: PathBuf,
    },
    /// The archive is none, or of a kind that browsers do not draw.
    #[error("{} is no base map", file.display())]
    Archive {
        /// Which.
        file: PathBuf,
        /// Why.
        source: ArchiveError,
    },
    /// The address of the map server is none.
    #[error("the configuration's map.url cannot be used")]
    Template(#[from] TemplateError),
    /// No connection to any server can be made.
    #[error("cannot make https connections; install ca-certificates")]
    Client(#[source] ProxyError),
}

/// The base map in force.
#[derive(Debug)]
pub struct BaseMap {
    base: Base,
    datum: Datum,
    source: Source,
    problem: Option<String>,
    version: String,
}

#[derive(Debug)]
enum Source {
    Schematic,
    Document(Bytes),
    Archive(Box<Archive>),
    Proxy(Box<Proxy>),
}

impl BaseMap {
    /// The schematic.
    pub fn schematic() -> Self {
        BaseMap {
            base: Base::Schematic,
            datum: Datum::Wgs84,
            source: Source::Schematic,
            problem: None,
            version: String::new(),
        }
    }

    /// Opens the configured base map, or the schematic with the reason why that one cannot be used.
    pub async fn open(config: &MapConfig) -> Self {
        match Source::open(config).await {
            Ok(source) => BaseMap {
                base: config.base,
                datum: config.crs,
                source,
                problem: None,
                version: version_of(config),
            },
            Err(why) => {
                let why = crate::error_chain(&why);
                error!(%why, "the base map cannot be used; the schematic stands in");
                BaseMap { problem: Some(why), ..BaseMap::schematic() }
            }
        }
    }

    /// Which base map is drawn.
    pub fn base(&self) -> Base {
        self.base
    }

    /// The coordinates in which it is drawn.
    pub fn datum(&self) -> Datum {
        self.datum
    }

    /// Another base map has another version, and so has a file that was replaced.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Why the configured base map is not drawn; `None` when it is.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// What a page draws.
    pub fn ground(&self) -> Ground {
        match &self.source {
            Source::Schematic => Ground::Schematic,
            Source::Document(_) => Ground::Document,
            Source::Archive(archive) => archive.ground(),
            Source::Proxy(proxy) => proxy.ground(),
        }
    }

    /// What the source itself says about its makers, as plain text.
    pub fn attribution(&self) -> Option<&str> {
        match &self.source {
            Source::Archive(archive) => archive.attribution(),
            _ => None,
        }
    }

    /// The GeoJSON document; `None` for another ground.
    pub fn document(&self) -> Option<Bytes> {
        match &self.source {
            Source::Document(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// A tile of a layer; `None` where there is none.
    ///
    /// # Errors
    /// When the archive is damaged, or the map server is slow, busy, or answers with something that is no picture.
    pub async fn tile(&self, layer: &str, place: TilePlace) -> Result<Option<Tile>, TileError> {
        match &self.source {
            Source::Schematic | Source::Document(_) => Ok(None),
            Source::Archive(archive) => Ok(archive.tile(layer, place).await?),
            Source::Proxy(proxy) => Ok(proxy.tile(layer, place).await?),
        }
    }
}

impl Source {
    async fn open(config: &MapConfig) -> Result<Self, BaseMapError> {
        match config.base {
            Base::Schematic => Ok(Source::Schematic),
            Base::File => match &config.file {
                Some(file) if is_archive(file) => {
                    let archive = Archive::open(file).await;
                    let archive = archive
                        .map_err(|source| BaseMapError::Archive { file: file.clone(), source })?;
                    Ok(Source::Archive(Box::new(archive)))
                }
                Some(file) => document(file).map(Source::Document),
                None => Ok(Source::Schematic),
            },
            Base::Tianditu | Base::Xyz => {
                let key = config.key_file.as_deref().map(read_key).transpose()?;
                Ok(Source::Proxy(Box::new(Proxy::new(config, key.as_deref())?)))
            }
        }
    }
}

/// A short name of what the configuration says, and of the file's age. Nothing can be read out of it.
fn version_of(config: &MapConfig) -> String {
    let file = config.file.as_ref().and_then(|file| std::fs::metadata(file).ok());
    let said = format!("{config:?} {:?}", file.map(|file| (file.len(), file.modified().ok())));
    let hash = Sha256::digest(said);
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a file is an archive of tiles, by its name.
fn is_archive(file: &Path) -> bool {
    file.extension().is_some_and(|end| end.eq_ignore_ascii_case("pmtiles"))
}

fn read_key(file: &Path) -> Result<String, BaseMapError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| BaseMapError::Read { file: file.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

fn document(file: &Path) -> Result<Bytes, BaseMapError> {
    let unread = |source| BaseMapError::Read { file: file.to_owned(), source };
    let bytes = std::fs::metadata(file).map_err(unread)?.len();
    if bytes > MAX_DOCUMENT_BYTES {
        return Err(BaseMapError::TooLarge { file: file.to_owned(), bytes });
    }
    let text = std::fs::read(file).map_err(unread)?;
    // Looked at once, so that a page never gets what it cannot draw.
    serde_json::from_slice::<geojson::FeatureCollection>(&text)
        .map_err(|_| BaseMapError::NotGeoJson { file: file.to_owned() })?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tiles_on_earth_have_a_place() {
        assert!(TilePlace::new(0, 0, 0).is_some());
        assert!(TilePlace::new(14, 13_675, 6_741).is_some());
        assert_eq!(TilePlace::new(0, 1, 0), None);
        assert_eq!(TilePlace::new(3, 0, 8), None);
        assert_eq!(TilePlace::new(MAX_ZOOM + 1, 0, 0), None);
        assert_eq!(TilePlace::new(255, u32::MAX, u32::MAX), None);
    }

    #[tokio::test]
    async fn a_file_that_is_no_map_leaves_the_schematic_and_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &'static str, content: &'static [u8], said: &'static str| {
            let file = folder.path().join(name);
            std::fs::write(&file, content).unwrap();
            async move {
                let config =
                    MapConfig { base: Base::File, file: Some(file), ..MapConfig::default() };
                let map = BaseMap::open(&config).await;
                assert_eq!(map.ground(), Ground::Schematic, "{name}");
                assert_eq!(map.base(), Base::Schematic);
                assert!(map.problem().is_some_and(|why| why.contains(said)), "{:?}", map.problem());
            }
        };
        check("a.geojson", b"{\"type\": \"Feature\"}", "no GeoJSON feature collection").await;
        check("b.pmtiles", b"PMTiles", "b.pmtiles is no base map").await;
        check("c.pmtiles", &[0; 20_000], "c.pmtiles is no base map").await;
        let gone = MapConfig {
            base: Base::File,
            file: Some("/nowhere/map.geojson".into()),
            ..MapConfig::default()
        };
        let map = BaseMap::open(&gone).await;
        assert!(map.problem().is_some_and(|why| why.contains("cannot read /nowhere")));
    }

    #[tokio::test]
    async fn a_geojson_file_goes_out_as_it_is() {
        let file = tempfile::Builder::new().suffix(".geojson").tempfile().unwrap();
        let text = r#"{"type": "FeatureCollection", "features": []}"#;
        std::fs::write(file.path(), text).unwrap();
        let config = MapConfig {
            base: Base::File,
            file: Some(file.path().to_owned()),
            crs: Datum::Gcj02,
            ..MapConfig::default()
        };
        let map = BaseMap::open(&config).await;
        assert_eq!((map.ground(), map.datum()), (Ground::Document, Datum::Gcj02));
        assert_eq!(map.document().as_deref(), Some(text.as_bytes()));
        let version = map.version().to_owned();
        std::fs::write(file.path(), format!("{text} ")).unwrap();
        assert_ne!(BaseMap::open(&config).await.version(), version, "another file");
        let place = TilePlace::new(0, 0, 0).unwrap();
        assert!(map.tile("base", place).await.unwrap().is_none());
    }
}

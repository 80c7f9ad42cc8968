//! A base map in one file: PMTiles, version 3.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use pmtiles::{
    AsyncBackend, AsyncPmTilesReader, BackendResponse, Compression, PmtError, PmtResult, TileCoord,
    TileType,
};
use tokio::sync::Semaphore;

use super::{Ground, Tile, TilePlace};

/// The largest piece of an archive that is read at once: a tile or a directory. Vector tiles stay below half of it.
const MAX_PIECE_BYTES: usize = 2 * 1024 * 1024;

/// Reads at a time: they share the threads that answer everybody.
const READS: usize = 8;

/// The name of an archive's one layer.
const LAYER: &str = "base";

/// Why an archive gives no tile.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is damaged or no archive at all.
    #[error("the archive is damaged, or no PMTiles of version 3")]
    Damaged(#[from] PmtError),
    /// It holds tiles that browsers cannot draw.
    #[error("its tiles are {found}; use mvt (none or gzip), png, jpeg, webp or avif")]
    Kind {
        /// What they are.
        found: String,
    },
    /// It cannot be opened.
    #[error("cannot open it")]
    Open(#[from] io::Error),
}

/// An open archive.
pub(super) struct Archive {
    reader: AsyncPmTilesReader<Pieces>,
    media: &'static str,
    gzip: bool,
    attribution: Option<String>,
    parts: Vec<String>,
}

impl Archive {
    /// Opens and checks it.
    pub(super) async fn open(file: &Path) -> Result<Self, ArchiveError> {
        let pieces = Pieces { file: Arc::new(File::open(file)?), turns: Semaphore::new(READS) };
        // No cache of directories: the system keeps the file's pages, and memory stays the same for a town and a continent.
        let reader = AsyncPmTilesReader::try_from_source(pieces).await?;
        let header = reader.get_header();
        let gzip = match header.tile_compression {
            Compression::None => false,
            Compression::Gzip => true,
            other => return Err(ArchiveError::Kind { found: format!("compressed by {other:?}") }),
        };
        let media = match header.tile_type {
            TileType::Mvt => "application/vnd.mapbox-vector-tile",
            TileType::Png => "image/png",
            TileType::Jpeg => "image/jpeg",
            TileType::Webp => "image/webp",
            TileType::Avif => "image/avif",
            other => return Err(ArchiveError::Kind { found: format!("{other:?}") }),
        };
        // Without its metadata an archive still draws.
        let about = reader.get_metadata().await.unwrap_or_default();
        let about: serde_json::Value = serde_json::from_str(&about).unwrap_or_default();
        Ok(Archive {
            attribution: about["attribution"].as_str().map(plain).filter(|text| !text.is_empty()),
            parts: about["vector_layers"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|part| Some(part["id"].as_str()?.to_owned()))
                .collect(),
            media,
            gzip,
            reader,
        })
    }

    pub(super) fn ground(&self) -> Ground {
        let header = self.reader.get_header();
        let zooms = (header.min_zoom, header.max_zoom);
        let box_ =
            [header.min_longitude, header.min_latitude, header.max_longitude, header.max_latitude];
        let bounds = (box_[0] < box_[2] && box_[1] < box_[3]).then_some(box_);
        match header.tile_type {
            TileType::Mvt => Ground::Vector { parts: self.parts.clone(), zooms, bounds },
            _ => Ground::Raster { layers: vec![LAYER], zooms, bounds },
        }
    }

    pub(super) fn attribution(&self) -> Option<&str> {
        self.attribution.as_deref()
    }

    pub(super) async fn tile(
        &self,
        layer: &str,
        place: TilePlace,
    ) -> Result<Option<Tile>, ArchiveError> {
        if layer != LAYER {
            return Ok(None);
        }
        let place = TileCoord::new(place.z, place.x, place.y)?;
        let bytes = self.reader.get_tile(place).await?;
        Ok(bytes.map(|bytes| Tile { bytes, media: self.media, gzip: self.gzip }))
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("media", &self.media).finish_non_exhaustive()
    }
}

/// A text that may hold links as the words in it: what a stranger's file says is never HTML to us.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for c in html.chars() {
        match c {
            '<' => in_tag = true,
            '>' => in_tag = false,
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    text.replace("&copy;", "©").replace("&amp;", "&").trim().to_owned()
}

/// The file, read piece by piece: unlike a mapping, a file that is cut short meanwhile is an error and no signal.
struct Pieces {
    file: Arc<File>,
    turns: Semaphore,
}

impl AsyncBackend for Pieces {
    async fn read(&self, offset: u64, length: usize) -> PmtResult<BackendResponse> {
        if length > MAX_PIECE_BYTES {
            let why = format!("a piece of {length} bytes is larger than {MAX_PIECE_BYTES}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why).into());
        }
        let _turn = self.turns.acquire().await.map_err(io::Error::other)?;
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || read_at(&file, offset, length));
        Ok(BackendResponse::new(read.await.map_err(io::Error::other)??))
    }
}

/// Up to `length` bytes, fewer at the end of the file.
fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    bytes.truncate(filled);
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use pmtiles::PmTilesWriter;

    use super::*;

    fn archive(kind: TileType, compression: Compression) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".pmtiles").tempfile().unwrap();
        let about = r#"{"attribution": "<a href=\"x\">&copy; Example</a>", "vector_layers": [{"id": "water"}]}"#;
        let mut writer = PmTilesWriter::new(kind)
            .tile_compression(compression)
            .min_zoom(0)
            .max_zoom(2)
            .bounds(120.0, 30.0, 121.0, 31.0)
            .metadata(about)
            .create(file.reopen().unwrap())
            .unwrap();
        for (z, x, y, content) in [(0, 0, 0, "all"), (2, 3, 1, "china")] {
            writer.add_tile(TileCoord::new(z, x, y).unwrap(), content.as_bytes()).unwrap();
        }
        writer.finalize().unwrap();
        file
    }

    fn place(z: u8, x: u32, y: u32) -> TilePlace {
        TilePlace::new(z, x, y).unwrap()
    }

    #[tokio::test]
    async fn tiles_come_out_as_they_went_in() {
        let file = archive(TileType::Png, Compression::None);
        let archive = Archive::open(file.path()).await.unwrap();
        let tile = archive.tile("base", place(2, 3, 1)).await.unwrap().unwrap();
        assert_eq!((&tile.bytes[..], tile.media, tile.gzip), (&b"china"[..], "image/png", false));
        assert_eq!(archive.tile("base", place(2, 0, 0)).await.unwrap(), None);
        assert_eq!(archive.tile("base", place(9, 0, 0)).await.unwrap(), None);
        assert_eq!(archive.tile("labels", place(0, 0, 0)).await.unwrap(), None);
        assert_eq!(archive.attribution(), Some("© Example"));
        let bounds = Some([120.0, 30.0, 121.0, 31.0]);
        assert_eq!(
            archive.ground(),
            Ground::Raster { layers: vec!["base"], zooms: (0, 2), bounds }
        );
    }

    #[tokio::test]
    async fn vector_tiles_stay_compressed_on_their_way() {
        let file = archive(TileType::Mvt, Compression::Gzip);
        let archive = Archive::open(file.path()).await.unwrap();
        let tile = archive.tile("base", place(0, 0, 0)).await.unwrap().unwrap();
        assert!(tile.gzip && tile.bytes.starts_with(&[0x1f, 0x8b]));
        let Ground::Vector { parts, .. } = archive.ground() else { panic!("no vector tiles") };
        assert_eq!(parts, ["water"]);
    }

    #[tokio::test]
    async fn a_file_cut_short_is_an_error_and_nothing_worse() {
        let file = archive(TileType::Png, Compression::None);
        let whole = std::fs::read(file.path()).unwrap();
        let archive = Archive::open(file.path()).await.unwrap();
        file.as_file().set_len(whole.len() as u64 - 4).unwrap();
        assert!(archive.tile("base", place(2, 3, 1)).await.is_err());
        for end in [0, 6, 126, 127] {
            std::fs::write(file.path(), &whole[..end]).unwrap();
            assert!(Archive::open(file.path()).await.is_err(), "{end} bytes");
        }
    }
}

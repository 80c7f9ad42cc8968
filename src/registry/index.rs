//! The spatial index of a town's assets.
//!
//! Two trees over the same assets. One in degrees answers "what lies in this box of the map". Degrees are no
//! distance (a degree of longitude shrinks with the latitude, and ends at the 180th meridian), so "what is
//! nearest" is asked of a second tree, in which the globe is a ball of radius 1 and every asset a small box in
//! space: the straight line through the ball grows with the way over ground, everywhere alike.

use std::sync::Arc;

use geo::{
    BoundingRect, Closest, ClosestPoint, Distance, Geometry, Haversine, MapCoords, Point, coord,
};
use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RTree};

use super::things::Asset;
use crate::model::{AssetNumber, Bbox, Position};

/// An entry of a tree: a box and the asset's place in `by_number`.
type Entry<const N: usize> = GeomWithData<Rectangle<[f64; N]>, usize>;

/// Box distances are compared with distances over ground; both round differently by far less than this.
const ROUNDING_M: f64 = 0.001;

/// The assets of a town by place and by number.
#[derive(Debug)]
pub(super) struct Index {
    by_number: Vec<Arc<Asset>>,
    map: RTree<Entry<2>>,
    ball: RTree<Entry<3>>,
}

impl Index {
    /// Builds the index over `assets`.
    pub(super) fn new<'a>(assets: impl Iterator<Item = &'a Arc<Asset>>) -> Self {
        let mut by_number: Vec<_> = assets.cloned().collect();
        by_number.sort_unstable_by_key(|asset| asset.number);
        let boxes: Vec<(usize, geo::Rect<f64>)> = by_number
            .iter()
            .enumerate()
            .filter_map(|(at, asset)| Some((at, asset.geometry.bounding_rect()?)))
            .collect();
        let map = RTree::bulk_load(boxes.iter().map(|(at, rect)| map_entry(rect, *at)).collect());
        let ball = RTree::bulk_load(boxes.iter().map(|(at, rect)| ball_entry(rect, *at)).collect());
        Index { by_number, map, ball }
    }

    /// The asset with this number.
    pub(super) fn by_number(&self, number: AssetNumber) -> Option<&Arc<Asset>> {
        let at = self.by_number.binary_search_by_key(&number, |asset| asset.number).ok()?;
        self.by_number.get(at)
    }

    /// The assets whose bounding boxes meet `bbox`, edges included, in the order of their numbers.
    pub(super) fn within(&self, bbox: Bbox) -> Vec<&Arc<Asset>> {
        let corners = AABB::from_corners([bbox.west, bbox.south], [bbox.east, bbox.north]);
        let mut found: Vec<usize> =
            self.map.locate_in_envelope_intersecting(corners).map(|entry| entry.data).collect();
        found.sort_unstable();
        found.into_iter().map(|at| &self.by_number[at]).collect()
    }

    /// The `n` assets nearest to `position` and their distances in metres; the lower number first among equals.
    pub(super) fn nearest(&self, position: Position, n: usize) -> Vec<(&Arc<Asset>, f64)> {
        let mut best: Vec<(f64, usize)> = Vec::new();
        let from = on_ball(position.lon(), position.lat());
        for (entry, chord_2) in self.ball.nearest_neighbor_iter_with_distance_2(from) {
            // Boxes come nearest first: nothing behind this one can be nearer than what was found.
            let enough = |worst: &(f64, usize)| over_ground(chord_2) > worst.0 + ROUNDING_M;
            if best.len() >= n && best.last().is_none_or(enough) {
                break;
            }
            let candidate = (distance(&self.by_number[entry.data], position), entry.data);
            let place = best.partition_point(|other| {
                other.0.total_cmp(&candidate.0).then(other.1.cmp(&candidate.1)).is_lt()
            });
            best.insert(place, candidate);
            best.truncate(n);
        }
        best.into_iter().map(|(metres, at)| (&self.by_number[at], metres)).collect()
    }
}

fn map_entry(rect: &geo::Rect<f64>, at: usize) -> Entry<2> {
    let (low, high) = (rect.min(), rect.max());
    GeomWithData::new(Rectangle::from_corners([low.x, low.y], [high.x, high.y]), at)
}

fn ball_entry(rect: &geo::Rect<f64>, at: usize) -> Entry<3> {
    let mut low = [f64::INFINITY; 3];
    let mut high = [f64::NEG_INFINITY; 3];
    let (west, south, east, north) = (rect.min().x, rect.min().y, rect.max().x, rect.max().y);
    for (lon, lat) in [(west, south), (west, north), (east, south), (east, north)] {
        for (axis, value) in on_ball(lon, lat).into_iter().enumerate() {
            low[axis] = low[axis].min(value);
            high[axis] = high[axis].max(value);
        }
    }
    // The ground bulges out of the box of its corners; by less than half the squared angle across it.
    let across = (east - west).hypot(north - south).to_radians();
    let bulge = across * across / 2.0;
    let box_ = Rectangle::from_corners(low.map(|v| v - bulge), high.map(|v| v + bulge));
    GeomWithData::new(box_, at)
}

fn on_ball(lon: f64, lat: f64) -> [f64; 3] {
    let (sin_lon, cos_lon) = lon.to_radians().sin_cos();
    let (sin_lat, cos_lat) = lat.to_radians().sin_cos();
    [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
}

/// The way over ground in metres under a chord of the ball, given squared.
fn over_ground(chord_2: f64) -> f64 {
    2.0 * Haversine.radius() * (chord_2.sqrt() / 2.0).min(1.0).asin()
}

/// The distance in metres from `position` to the nearest part of the asset; 0 inside an outline.
fn distance(asset: &Asset, position: Position) -> f64 {
    let from = Point::new(position.lon(), position.lat());
    Haversine.distance(from, nearest_part(&asset.geometry, from))
}

/// The part of `geometry` that is nearest to `from`, on the plane that touches the ground there: exact to
/// millimetres over the size of a town. Not `geo`'s `HaversineClosestPoint`: it divides two cosines that are
/// nearly 1, and within some metres of a line its answer is noise or no number.
fn nearest_part(geometry: &Geometry<f64>, from: Point<f64>) -> Point<f64> {
    if let Geometry::Point(point) = geometry {
        return *point;
    }
    let shrink = from.y().to_radians().cos().max(f64::EPSILON);
    let plane = geometry.map_coords(|c| {
        let east = (c.x - from.x() + 540.0).rem_euclid(360.0) - 180.0;
        coord! { x: east * shrink, y: c.y - from.y() }
    });
    match plane.closest_point(&Point::new(0.0, 0.0)) {
        Closest::Intersection(point) | Closest::SinglePoint(point) => {
            Point::new(from.x() + point.x() / shrink, from.y() + point.y())
        }
        // Only for an empty geometry, which the trees do not hold.
        Closest::Indeterminate => from,
    }
}

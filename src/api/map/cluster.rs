//! A grid for maps that show more than a town: one mark per cell.

use std::collections::BTreeMap;

use crate::model::Bbox;

/// Cells per side of a map's 512-pixel tile: 64 pixels each.
const CELLS_PER_TILE: f64 = 8.0;

/// More things than this in one cell are drawn as one mark: they would lie on each other. The console clusters by the same
/// rule (`clusters.ts`).
pub(super) const CROWD: usize = 24;

/// The side of a cell in degrees. Whole zooms only: between two of them the clusters stay as they are.
fn side(zoom: f64) -> f64 {
    360.0 / zoom.floor().exp2() / CELLS_PER_TILE
}

/// The cells that a box touches, whole: a cluster at the edge of the screen has all its members.
pub(super) fn whole_cells(seen: Bbox, zoom: f64) -> Bbox {
    let side = side(zoom);
    let (down, up) = (|d: f64| (d / side).floor() * side, |d: f64| (d / side).ceil() * side);
    Bbox {
        west: down(seen.west).max(-180.0),
        south: down(seen.south).max(-90.0),
        east: up(seen.east).min(180.0),
        north: up(seen.north).min(90.0),
    }
}

/// The things of one cell of the grid.
#[derive(Debug, PartialEq)]
pub(super) struct Cell<'a, T> {
    /// The mean longitude of its members in degrees.
    pub(super) lon: f64,
    /// The mean latitude of its members in degrees.
    pub(super) lat: f64,
    /// At least one.
    pub(super) members: Vec<&'a T>,
}

/// Puts things into the cells of the grid at `zoom`, from south-west to north-east. A thing without a place is left out.
/// Cells depend on the zoom only, not on what is in sight: clusters stand still while the map moves.
pub(super) fn grid<'a, T>(
    things: &[&'a T],
    zoom: f64,
    place: impl Fn(&T) -> Option<(f64, f64)>,
) -> Vec<Cell<'a, T>> {
    let side = side(zoom);
    let mut cells: BTreeMap<(i64, i64), Cell<'a, T>> = BTreeMap::new();
    for &thing in things {
        let Some((lon, lat)) = place(thing) else { continue };
        let key = ((lat / side).floor() as i64, (lon / side).floor() as i64);
        let cell = cells.entry(key).or_insert(Cell { lon: 0.0, lat: 0.0, members: Vec::new() });
        cell.members.push(thing);
        let n = cell.members.len() as f64;
        cell.lon += (lon - cell.lon) / n;
        cell.lat += (lat - cell.lat) / n;
    }
    cells.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lands_in_exactly_one_cell() {
        let places: Vec<(f64, f64)> = (0..100)
            .map(|n| (120.4 + f64::from(n % 10) * 0.02, 30.7 + f64::from(n / 10) * 0.01))
            .collect();
        let things: Vec<_> = places.iter().collect();
        for zoom in [0.0, 5.0, 9.7, 11.0, 11.9] {
            let cells = grid(&things, zoom, |place| Some(*place));
            assert_eq!(cells.iter().map(|cell| cell.members.len()).sum::<usize>(), 100);
            for cell in &cells {
                let mean = cell.members.iter().map(|place| place.0).sum::<f64>()
                    / cell.members.len() as f64;
                assert!((mean - cell.lon).abs() < 1e-9);
            }
        }
        assert_eq!(grid(&things, 0.0, |place| Some(*place)).len(), 1);
        assert!(grid(&things, 11.0, |place| Some(*place)).len() > 4);
    }

    #[test]
    fn clusters_stand_still_while_the_map_moves() {
        let (a, b, c) = ((120.48, 30.74), (120.481, 30.741), (100.0, 20.0));
        let all = grid(&[&a, &b, &c], 10.0, |place| Some(*place));
        let part = grid(&[&a, &b], 10.0, |place| Some(*place));
        assert!(all.contains(&part[0]));
        assert!(grid(&[&a], 10.0, |_| None).is_empty());
    }

    #[test]
    fn a_box_grows_to_whole_cells() {
        let seen: Bbox = "120.46,30.73,120.51,30.77".parse().unwrap();
        let whole = whole_cells(seen, 12.6);
        assert!(whole.west <= seen.west && whole.south <= seen.south);
        assert!(whole.east >= seen.east && whole.north >= seen.north);
        assert!(whole.east - whole.west < seen.east - seen.west + 2.0 * side(12.0));
        // Growing again changes nothing but the last digit.
        let again = whole_cells(whole, 12.6);
        assert!(
            again.west >= whole.west - side(12.0) - 1e-9
                && again.east <= whole.east + side(12.0) + 1e-9
        );
        let world: Bbox = "-180,-90,180,90".parse().unwrap();
        assert_eq!(whole_cells(world, 0.0), world);
    }
}

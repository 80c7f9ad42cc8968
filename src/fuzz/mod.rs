//! Hostile input, for the tests only: a corpus, a mutator that learns, and targets that must not panic, hang or blow up.
//!
//! Stable Rust has no coverage to follow, so a target tells what became of an input (which error, how many readings), and
//! an input with a new outcome joins the pool that the next ones are bred from. `cargo test` plays the corpus and a small
//! number of inputs; `make fuzz` the large one (`TOWNHUB_FUZZ=thorough`; another seed by `TOWNHUB_FUZZ_SEED`). An input
//! that breaks its target is written to `target/fuzz/`; put it into `tests/corpus/` with the mend.

mod mutate;
mod targets;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// No single input may take so long, in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(3);
/// Inputs to breed from; with more of them, new ones take the place of old ones.
const POOL: usize = 2_048;
const SEED: u64 = 20_261_128;

/// A target's name, its numbers of inputs, and where it begins.
pub(crate) struct Fuzz {
    pub(crate) name: &'static str,
    /// Inputs in `cargo test`.
    pub(crate) usual: u64,
    /// Inputs in `make fuzz`.
    pub(crate) thorough: u64,
    /// Valid ones, and ones that broke something once.
    pub(crate) seeds: Vec<Vec<u8>>,
    /// The longest input in bytes.
    pub(crate) most_bytes: usize,
}

/// What became of an input, without its numbers: two inputs that are refused for one reason are alike.
pub(crate) fn outcome(of: &impl std::fmt::Debug) -> u64 {
    let mut hasher = DefaultHasher::new();
    let text = format!("{of:?}");
    // A message may quote the input: its beginning tells the reason.
    text.bytes().filter(|byte| !byte.is_ascii_digit()).take(60).for_each(|b| b.hash(&mut hasher));
    hasher.finish()
}

/// The files of `tests/corpus/{name}`, by name.
pub(crate) fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

impl Fuzz {
    /// Plays the seeds and then the inputs that are bred from them.
    pub(crate) fn run(self, mut target: impl FnMut(&[u8]) -> u64) {
        assert!(!self.seeds.is_empty(), "{}: a corpus", self.name);
        let is_thorough = std::env::var_os("TOWNHUB_FUZZ").is_some();
        let number = if is_thorough { self.thorough } else { self.usual };
        let seed = std::env::var("TOWNHUB_FUZZ_SEED").map_or(SEED, |seed| seed.parse().unwrap());
        let mut chance = StdRng::seed_from_u64(seed);
        let (begin, mut slowest) = (Instant::now(), Duration::ZERO);
        let (mut seen, mut pool) = (HashSet::new(), Vec::new());
        let mut play = |input: Vec<u8>, pool: &mut Vec<Vec<u8>>, place: usize| {
            let before = Instant::now();
            let outcome =
                catch_unwind(AssertUnwindSafe(|| target(&input))).unwrap_or_else(|panic| {
                    println!("{}", self.keep(&input));
                    resume_unwind(panic)
                });
            slowest = slowest.max(before.elapsed());
            assert!(
                before.elapsed() < PATIENCE,
                "it took {:?}: {}",
                before.elapsed(),
                self.keep(&input)
            );
            if seen.insert(outcome) {
                if pool.len() < POOL {
                    pool.push(input);
                } else {
                    pool[place % POOL] = input;
                }
            }
        };
        for seed in &self.seeds {
            play(seed.clone(), &mut pool, 0);
        }
        pool.extend(self.seeds.iter().cloned());
        for n in 0..number {
            let input = mutate::bred(&pool, self.most_bytes, &mut chance);
            play(input, &mut pool, n as usize);
        }
        println!(
            "fuzz {:<12} {} seeds, {number} inputs from seed {seed} in {:.1} s, {} outcomes, slowest {:.1} ms",
            self.name,
            self.seeds.len(),
            begin.elapsed().as_secs_f64(),
            seen.len(),
            slowest.as_secs_f64() * 1e3,
        );
    }

    fn keep(&self, input: &[u8]) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
        let file = folder.join(format!("{}-{:08x}", self.name, crc32fast::hash(input)));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&file, input).unwrap();
        format!("the input that breaks {} is in {}", self.name, file.display())
    }
}

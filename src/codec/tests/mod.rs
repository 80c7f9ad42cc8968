//! The engine, the worker and the pool, with honest and with hostile codecs.

mod engine;

//! Faces: axum, `/api/v1`, the console's files, health and metrics.

-- Indexes for the reports, a step in the migrations of the town's state file: which alerts and cases a span concerns is
-- found without reading one of their rows.

CREATE INDEX alert_by_time ON alert (raised_at, cleared_at, acknowledged_at, open);
CREATE INDEX case_by_time  ON town_case (opened_at, closed_at, due_at);

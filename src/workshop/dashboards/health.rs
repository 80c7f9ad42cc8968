//! The dashboard of the hub's own health, over what it says at `/metrics`. A scenario test holds every name against a
//! running hub.

use super::Dashboard;
use super::grafana::{Look, Panel, Source, dashboard as around};

/// A figure that grows: its growth a second.
fn rates(zh: &str, en: &str, metric: &str, label: &'static str) -> Panel {
    let by = label.trim_matches(['{', '}']);
    Panel::new(format!("{zh} / {en}"), Look::Lines, "cps").query(
        format!("sum by ({by}) (rate({metric}{{instance=~\"$hub\"}}[$__rate_interval]))"),
        label,
    )
}

/// A figure that stands.
fn levels(zh: &str, en: &str, query: &str, label: &'static str, unit: &str) -> Panel {
    Panel::new(format!("{zh} / {en}"), Look::Lines, unit).query(query, label)
}

fn number(zh: &str, en: &str, query: &str, unit: &str) -> Panel {
    Panel::new(format!("{zh} / {en}"), Look::Number, unit).query(query, "")
}

pub(super) fn dashboard() -> Dashboard {
    let mut unit_up = Panel::new("从站在线 / Modbus units up".to_owned(), Look::States, "none")
        .query("townhub_modbus_unit_up{instance=~\"$hub\"}", "{{device}}");
    unit_up.states = vec![(0.0, "无应答 / silent".to_owned()), (1.0, "在线 / up".to_owned())];
    let panels = [
        number(
            "每秒入库读数",
            "Readings stored per second",
            "sum(rate(townhub_readings_total{instance=~\"$hub\", outcome=\"stored\"}[$__rate_interval]))",
            "none",
        ),
        number(
            "MQTT 连接",
            "MQTT connections",
            "sum(townhub_mqtt_connections{instance=~\"$hub\", kind=\"all\"})",
            "none",
        ),
        number(
            "未了特急与紧急告警",
            "Open critical and major alerts",
            "sum(townhub_open_alerts{instance=~\"$hub\", severity=~\"critical|major\"})",
            "none",
        ),
        number(
            "占用磁盘",
            "Disk used",
            "sum(townhub_store{instance=~\"$hub\", what=\"disk_bytes\"})",
            "bytes",
        ),
        rates("读数去向", "Readings by outcome", "townhub_readings_total", "{{outcome}}"),
        levels(
            "未了告警",
            "Open alerts",
            "sum by (severity) (townhub_open_alerts{instance=~\"$hub\"})",
            "{{severity}}",
            "none",
        ),
        levels(
            "主机故障",
            "Troubles of the hub",
            "sum by (code) (townhub_trouble{instance=~\"$hub\"})",
            "{{code}}",
            "none",
        ),
        rates("MQTT 拒绝", "MQTT refusals", "townhub_mqtt_refusals_total", "{{reason}}"),
        rates(
            "服务订阅丢失",
            "Messages that services missed",
            "townhub_services_dropped_total",
            "{{queue}}",
        ),
        levels(
            "库内读数",
            "Readings in the store",
            "sum by (what) (townhub_store{instance=~\"$hub\", what=~\"hot_readings|sealed_readings\"})",
            "{{what}}",
            "short",
        ),
        levels(
            "库大小",
            "Size of the store",
            "sum by (what) (townhub_store{instance=~\"$hub\", what=~\"disk_bytes|sealed_bytes\"})",
            "{{what}}",
            "bytes",
        ),
        levels(
            "磁盘余量",
            "Room on the disk",
            "sum by (what) (townhub_disk{instance=~\"$hub\", what=~\"free_bytes|warn_below_bytes|stop_below_bytes\"})",
            "{{what}}",
            "bytes",
        ),
        levels(
            "总线负载",
            "Bus load",
            "townhub_modbus_bus_load{instance=~\"$hub\"}",
            "{{endpoint}}",
            "percentunit",
        ),
        unit_up,
        rates("Modbus 请求", "Modbus requests", "townhub_modbus_total", "{{outcome}}"),
        rates("从站应答", "Answers of Modbus units", "townhub_modbus_unit_total", "{{outcome}}"),
        levels(
            "从站不读的地址段",
            "Address ranges left alone",
            "sum by (device) (townhub_modbus_unit_left_alone{instance=~\"$hub\"}) > 0",
            "{{device}}",
            "none",
        ),
        rates("指令", "Commands", "townhub_commands_total", "{{outcome}}"),
        rates("通知", "Notifications", "townhub_notifications_total", "{{outcome}}"),
        rates("LoRaWAN 编解码", "LoRaWAN codecs", "townhub_codecs_total", "{{outcome}}"),
    ];
    let hub = serde_json::json!({
        "name": "hub", "label": "主机 / Hub", "type": "query",
        "datasource": { "type": "prometheus", "uid": "${source}" },
        "query": { "query": "label_values(townhub_readings_total, instance)", "refId": "hubs" },
        "refresh": 2, "sort": 1, "regex": "", "hide": 0, "includeAll": true, "allValue": ".*", "multi": true, "options": [],
        "current": { "text": ["All"], "value": ["$__all"] },
    });
    let json = around(
        "townhub-health",
        "townhub · 主机运行状况 / Hub health",
        "主机自身指标 (/metrics) / The hub's own figures. Made by `townhub dashboards`; do not edit.",
        Source::Prometheus,
        vec![hub],
        &panels,
    );
    Dashboard { file: "hub-health.json".to_owned(), json }
}

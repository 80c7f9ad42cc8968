//! What people read of a trouble: what is wrong, what they can do, what the hub does by itself.

use super::{Code, Facts};
use crate::model::size::bytes_text;
use crate::model::{Label, Severity};

/// What is wrong, and what to do.
type Words = (Label, Label);

fn words(text: (String, String), remedy: (String, String)) -> Words {
    (Label::new(text.0, text.1), Label::new(remedy.0, remedy.1))
}

fn fixed(zh: &str, en: &str) -> (String, String) {
    (zh.to_owned(), en.to_owned())
}

/// For those who may know only that something is wrong.
pub(super) fn veiled() -> Words {
    words(
        fixed("主机运行异常", "The hub is in trouble"),
        fixed("系统管理员可以看到原因。", "The hub's administrators see the cause."),
    )
}

pub(super) fn of(code: Code, subject: &str, severity: Severity, facts: &Facts) -> Words {
    let count = facts.count.unwrap_or_default();
    let share = facts.share_percent.unwrap_or_default();
    let free = bytes_text(facts.free_bytes.unwrap_or_default());
    let stop = bytes_text(facts.stop_below_bytes.unwrap_or_default());
    let because = |zh: String, en: String| match &facts.why {
        Some(why) => (format!("{zh}{}", why.zh), format!("{en} {}", why.en)),
        None => (zh, en),
    };
    let with_why = |zh: &str, en: &str| because(zh.to_owned(), en.to_owned());
    match code {
        Code::Part => words(
            (format!("未就绪：{}", part(subject).zh), format!("Not up: {}", part(subject).en)),
            with_why(
                "主机会自动重试；若持续存在，请查看主机日志并重启主机。",
                "It is tried again by itself; if it stays so, look into the hub's log and start the hub again.",
            ),
        ),
        Code::Disk if severity == Severity::Critical => words(
            (
                format!("磁盘已满（仅剩 {free}）：已停止接收读数"),
                format!("The disk is full ({free} left): no readings are taken"),
            ),
            fixed(
                "立即清理磁盘或扩容。告警与工单照常；有空间后自动恢复，设备会补发读数。",
                "Make room now. Alerts and cases go on; readings are taken again by themselves, and devices send theirs again.",
            ),
        ),
        Code::Disk => words(
            (
                format!("磁盘仅剩 {free}（{share} %）"),
                format!("Only {free} of disk left ({share} %)"),
            ),
            (
                format!("清理磁盘或扩容。剩余不足 {stop} 时不再接收读数，设备会自行重发。"),
                format!(
                    "Make room. Below {stop} no readings are taken any more; devices send them again."
                ),
            ),
        ),
        Code::Backup => words(
            fixed("备份失败", "The backup failed"),
            with_why(
                "主机会自动重试；请检查备份目录与其磁盘。",
                "It is tried again by itself; check the backup folder and its disk.",
            ),
        ),
        Code::Broker => words(
            (
                format!("外部消息服务器 {subject} 未接通"),
                format!("The external broker {subject} does not serve us"),
            ),
            with_why(
                "主机会自动重连；未确认的消息由它保留。",
                "The hub tries again by itself; the broker keeps what was not acknowledged.",
            ),
        ),
        Code::Bridge => words(
            (
                format!("向上级 {subject} 的转发不畅"),
                format!("The bridge to {subject} is in trouble"),
            ),
            with_why(
                "主机会自动重试，消息在磁盘排队。",
                "The hub tries again by itself; messages wait on disk.",
            ),
        ),
        Code::BridgeLosing => words(
            (
                format!("向上级 {subject} 的转发放弃了 {count} 条消息"),
                format!("The bridge to {subject} gave up {count} messages"),
            ),
            with_why(
                "排队已满，最旧的读数被放弃，本机仍有全部读数。尽快恢复上级服务器，或调大 [bridge] max。",
                "Its queue is full, so the oldest readings are given up; this hub has them all. Bring the upstream broker back, or raise max in [bridge].",
            ),
        ),
        Code::Engine => words(
            (format!("{subject} 不接收读数"), format!("{subject} does not take readings")),
            because(
                format!(
                    "{count} 条读数在本机磁盘排队（占上限 {share} %），恢复后自动补发，不会丢失。检查该服务器、网络与 [store] 配置。"
                ),
                format!(
                    "{count} readings wait on this hub's disk ({share} % of the bound) and are sent when it does; none is lost. Check that server, the network and [store]."
                ),
            ),
        ),
        Code::EngineOverfull => words(
            (
                format!("排队已超上限：{count} 条读数只以汇总发往 {subject}"),
                format!(
                    "The queue is over its bound: {subject} gets only rollups of {count} readings"
                ),
            ),
            fixed(
                "原始读数仍保存在本机。尽快恢复该服务器，或调大 [store.queue] max。",
                "The readings stay in the hub's own file. Bring the server back, or raise max in [store.queue].",
            ),
        ),
        Code::EngineRefuses => words(
            (
                format!("{subject} 拒收 {count} 条读数"),
                format!("{subject} refuses {count} readings"),
            ),
            with_why(
                "这些读数在本机近期数据中仍可查。检查其保留期与字段类型。",
                "They stay readable here for the near past. Check its retention and the types of its fields.",
            ),
        ),
        Code::Queue => words(
            (
                format!("{}已占 {share} %", queue(subject).zh),
                format!("{} is {share} % full", queue(subject).en),
            ),
            fixed(
                "磁盘或处理器跟不上；检查主机负荷与磁盘速度。",
                "Disk or processor cannot keep up; check the host's load and the disk's speed.",
            ),
        ),
        Code::Bus => words(
            (format!("总线 {subject} 未连接"), format!("The bus {subject} is not connected")),
            with_why(
                "主机会自动重连；检查地址、线路与电源。",
                "The hub tries again by itself; check address, line and power.",
            ),
        ),
        Code::Profile => words(
            (format!("型号文件 {subject} 被拒"), format!("The profile {subject} is refused")),
            with_why(
                "原先的版本继续生效；改正文件后自动采用。",
                "The version before goes on running; a corrected file is taken by itself.",
            ),
        ),
        Code::Channel => words(
            (
                format!("通知渠道 {subject} 失败"),
                format!("The notification channel {subject} fails"),
            ),
            with_why(
                "消息会自动重试；在通知页查看并测试渠道。",
                "Its messages are tried again by themselves; see and try the channel on the notifications page.",
            ),
        ),
        Code::Services => words(
            (
                format!("{count} 条转发消息丢失"),
                format!("{count} messages to services were missed"),
            ),
            fixed(
                "订阅方读得太慢；检查仪表盘或桥接程序。",
                "A subscriber reads too slowly; check dashboards and bridges.",
            ),
        ),
        Code::Clock => words(
            fixed("主机时钟存疑", "The hub's clock is doubted"),
            with_why(
                "时间突然跳后一天以上，或主机停机很久：一天内不删除任何旧数据。若时钟有误，请尽快校准。",
                "It leapt ahead by more than a day, or the hub was off for long: nothing old is deleted for a day. If it is wrong, set it right until then.",
            ),
        ),
    }
}

fn part(name: &str) -> Label {
    match name {
        "store" => Label::new("读数存储", "the store of readings"),
        "mqtt" => Label::new("MQTT 接入", "the MQTT door"),
        "judge" => Label::new("告警判断", "the judge of alerts"),
        "services" => Label::new("服务消息", "the services' broker"),
        other => Label::same(other),
    }
}

fn queue(name: &str) -> Label {
    match name {
        "disk" => Label::new("等待写盘的队列", "The queue before the disk"),
        "judge" => Label::new("等待判断的队列", "The queue before the judge"),
        other => Label::new(format!("队列“{other}”"), format!("The queue “{other}”")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_has_words_and_says_what_it_is_of_and_why() {
        let why = "connection refused";
        let facts = Facts { count: Some(7), ..Facts::because(why) };
        for code in Code::ALL {
            for severity in Severity::ALL {
                let (text, remedy) = of(code, "x:1", severity, &facts);
                for said in [&text.zh, &text.en, &remedy.zh, &remedy.en] {
                    assert!(!said.is_empty() && !said.contains('{'), "{code:?}: {said}");
                }
            }
        }
        let (text, remedy) = of(Code::Broker, "x:1", Severity::Major, &facts);
        assert!(text.zh.contains("x:1") && text.en.contains("x:1"));
        assert!(remedy.zh.ends_with(why) && remedy.en.ends_with(why), "{remedy:?}");
    }

    #[test]
    fn a_full_disk_says_more_than_a_low_one() {
        let facts = Facts {
            free_bytes: Some(48_000_000),
            share_percent: Some(2),
            stop_below_bytes: Some(64_000_000),
            ..Facts::default()
        };
        let low = of(Code::Disk, "", Severity::Major, &facts);
        assert_eq!(low.0, Label::new("磁盘仅剩 48 MB（2 %）", "Only 48 MB of disk left (2 %)"));
        assert!(low.1.en.contains("Below 64 MB"), "{low:?}");
        let full = of(Code::Disk, "", Severity::Critical, &facts);
        assert_eq!(full.0.zh, "磁盘已满（仅剩 48 MB）：已停止接收读数");
    }
}

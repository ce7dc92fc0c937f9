//! KeySecure's codes and their words, in its two languages.

use http::HeaderMap;

/// Codes of this dialect. Numbers are the contract's (error-codes page); 4005, 4016 and 4017 are
/// the ones that its card pages show for a card in the wrong state, a PIN that is none and a card
/// of the wrong kind, 4001 is ours for a card that is not there. 1014 to 1018 belong to its hosted
/// page: see docs/reference/errors.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    SystemError,
    ApiKeyRequired,
    IpNotAllowed,
    InvalidParameter,
    TimestampInvalid,
    AccessTokenRequired,
    AccessTokenInvalid,
    ApiKeyNotExist,
    TooFrequent,
    ApiKeyNotEnabled,
    ApiKeyExpired,
    ModeNotSupported,
    PciNotEnabled,
    EndNotAfterStart,
    RangeTooLong,
    NonceUsed,
    MerchantNotExist,
    MerchantAbnormal,
    CardNotExist,
    CardStatus,
    PinInvalid,
    NotPhysical,
}

/// The language of messages (header `Language`; English when left out or unknown).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Chinese,
}

impl Language {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get("language").map(http::HeaderValue::as_bytes) {
            Some(b"zh_CN") => Self::Chinese,
            Some(_) | None => Self::English,
        }
    }
}

impl Code {
    pub(super) const fn number(self) -> u16 {
        match self {
            Self::SystemError => 1001,
            Self::ApiKeyRequired => 1002,
            Self::IpNotAllowed => 1003,
            Self::InvalidParameter => 1004,
            Self::TimestampInvalid => 1005,
            Self::AccessTokenRequired => 1006,
            Self::AccessTokenInvalid => 1007,
            Self::ApiKeyNotExist => 1008,
            Self::TooFrequent => 1009,
            Self::ApiKeyNotEnabled => 1010,
            Self::ApiKeyExpired => 1011,
            Self::ModeNotSupported => 1012,
            Self::PciNotEnabled => 1013,
            Self::EndNotAfterStart => 1019,
            Self::RangeTooLong => 1020,
            Self::NonceUsed => 1017,
            Self::MerchantNotExist => 1021,
            Self::MerchantAbnormal => 1022,
            Self::CardNotExist => 4001,
            Self::CardStatus => 4005,
            Self::PinInvalid => 4016,
            Self::NotPhysical => 4017,
        }
    }

    /// For the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SystemError => "1001",
            Self::ApiKeyRequired => "1002",
            Self::IpNotAllowed => "1003",
            Self::InvalidParameter => "1004",
            Self::TimestampInvalid => "1005",
            Self::AccessTokenRequired => "1006",
            Self::AccessTokenInvalid => "1007",
            Self::ApiKeyNotExist => "1008",
            Self::TooFrequent => "1009",
            Self::ApiKeyNotEnabled => "1010",
            Self::ApiKeyExpired => "1011",
            Self::ModeNotSupported => "1012",
            Self::PciNotEnabled => "1013",
            Self::EndNotAfterStart => "1019",
            Self::RangeTooLong => "1020",
            Self::NonceUsed => "1017",
            Self::MerchantNotExist => "1021",
            Self::MerchantAbnormal => "1022",
            Self::CardNotExist => "4001",
            Self::CardStatus => "4005",
            Self::PinInvalid => "4016",
            Self::NotPhysical => "4017",
        }
    }

    pub(super) const fn words(self, language: Language) -> &'static str {
        let (english, chinese) = match self {
            Self::SystemError => ("System error", "系统错误"),
            Self::ApiKeyRequired => ("Api-Key is required", "缺少 Api-Key"),
            Self::IpNotAllowed => ("IP address not allowed", "IP 地址不在白名单内"),
            Self::InvalidParameter => ("Invalid parameter", "参数无效"),
            Self::TimestampInvalid => ("Timestamp is invalid or expired", "时间戳无效或已过期"),
            Self::AccessTokenRequired => ("Access-Token is required", "缺少 Access-Token"),
            Self::AccessTokenInvalid => (
                "Access-Token is invalid or expired",
                "Access-Token 无效或已过期",
            ),
            Self::ApiKeyNotExist => ("Api-Key does not exist", "Api-Key 不存在"),
            Self::TooFrequent => ("Requests are too frequent", "请求过于频繁"),
            Self::ApiKeyNotEnabled => ("Api-Key is not enabled", "Api-Key 未启用"),
            Self::ApiKeyExpired => ("Api-Key has expired", "Api-Key 已过期"),
            Self::ModeNotSupported => ("Integration mode not supported", "不支持的接入模式"),
            Self::EndNotAfterStart => (
                "End time must be after start time",
                "结束时间必须晚于开始时间",
            ),
            Self::RangeTooLong => (
                "Time range exceeds the limit of 90 days",
                "时间范围超过 90 天的限制",
            ),
            Self::PciNotEnabled => (
                "PCI sensitive card display is not enabled",
                "未开通 PCI 敏感卡信息展示",
            ),
            Self::NonceUsed => (
                "Request replay or nonce already used",
                "请求重放或 nonce 已使用",
            ),
            Self::MerchantNotExist => ("Merchant does not exist", "商户不存在"),
            Self::MerchantAbnormal => ("Merchant status is abnormal", "商户状态异常"),
            Self::CardNotExist => ("Card does not exist", "卡片不存在"),
            Self::CardStatus => (
                "The card's status does not allow this operation",
                "卡片状态不允许此操作",
            ),
            Self::PinInvalid => (
                "The PIN must be 6 digits, of which no 3 in a row are the same or sequential",
                "PIN 须为 6 位数字，且不得含 3 位或以上相同或连续的数字",
            ),
            Self::NotPhysical => ("The card is not a physical card", "该卡不是实体卡"),
        };
        match language {
            Language::English => english,
            Language::Chinese => chinese,
        }
    }
}

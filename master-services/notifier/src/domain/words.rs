//! The words of every mail, in every language we write in.
//!
//! Plain text. Amounts are formatted with integers alone.

use mesh_contracts::money::{Currency, Money};
use mesh_contracts::notification::{Job, Occasion};
use mesh_contracts::user::Language;

/// A mail's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    pub subject: String,
    pub text: String,
}

/// What to write about a job to somebody of this name.
pub fn words(job: &Job, language: Language, name: &str) -> Words {
    match language {
        Language::En => english(job, name),
        Language::Ru => russian(job, name),
    }
}

fn english(job: &Job, name: &str) -> Words {
    let number = &job.number;
    let amount = amount(job.amount, '.');
    let charged = if job.amount.is_zero() {
        "You pay nothing. Whatever was set aside or taken goes back to you.".to_owned()
    } else {
        format!("You pay {amount}. Whatever was taken beyond that goes back to you.")
    };
    let (subject, news) = match job.occasion {
        Occasion::Paid => (
            format!("We have your order {number}"),
            format!("Thank you! We have your order {number} for {amount} and are asking a kitchen to cook it."),
        ),
        Occasion::Completed => (
            format!("Your order {number} is with you"),
            format!("Your order {number} has been handed over. Its price is {amount}. Enjoy your meal!"),
        ),
        Occasion::Rejected => (
            format!("Your order {number} could not be cooked"),
            format!("We are sorry: no kitchen could take your order {number}. {charged}"),
        ),
        Occasion::Expired => (
            format!("Your order {number} was not paid"),
            format!("The payment for your order {number} did not come in time, so it has ended. {charged}"),
        ),
        Occasion::Cancelled => (
            format!("Your order {number} was cancelled"),
            format!("Your order {number} has been cancelled. {charged}"),
        ),
        Occasion::Undelivered => (
            format!("Your order {number} could not be handed over"),
            format!("We are sorry: your order {number} was cooked and could not be handed over. {charged}"),
        ),
    };
    Words {
        subject,
        text: format!("Hello {name},\n\n{news}\n\nTiffin\n"),
    }
}

fn russian(job: &Job, name: &str) -> Words {
    let number = &job.number;
    let amount = amount(job.amount, ',');
    let charged = if job.amount.is_zero() {
        "Вы ничего не платите. Всё, что было отложено или списано, вернётся к вам.".to_owned()
    } else {
        format!("К оплате {amount}. Всё, что было списано сверх этого, вернётся к вам.")
    };
    let (subject, news) = match job.occasion {
        Occasion::Paid => (
            format!("Мы приняли ваш заказ {number}"),
            format!("Спасибо! Мы приняли ваш заказ {number} на сумму {amount} и ищем кухню, которая его приготовит."),
        ),
        Occasion::Completed => (
            format!("Ваш заказ {number} у вас"),
            format!("Ваш заказ {number} передан вам. Его стоимость — {amount}. Приятного аппетита!"),
        ),
        Occasion::Rejected => (
            format!("Ваш заказ {number} не удалось приготовить"),
            format!("Нам очень жаль: ни одна кухня не смогла взять ваш заказ {number}. {charged}"),
        ),
        Occasion::Expired => (
            format!("Ваш заказ {number} не оплачен"),
            format!("Оплата заказа {number} не поступила вовремя, поэтому он завершён. {charged}"),
        ),
        Occasion::Cancelled => (
            format!("Ваш заказ {number} отменён"),
            format!("Ваш заказ {number} отменён. {charged}"),
        ),
        Occasion::Undelivered => (
            format!("Ваш заказ {number} не удалось передать"),
            format!("Нам очень жаль: ваш заказ {number} был приготовлен, но передать его не удалось. {charged}"),
        ),
    };
    Words {
        subject,
        text: format!("Здравствуйте, {name}!\n\n{news}\n\nTiffin\n"),
    }
}

/// Major units, a separator, minor units as the currency has them, and its code.
pub(super) fn amount(money: Money, separator: char) -> String {
    let digits = minor_digits(money.currency);
    let unit = 10_u64.pow(digits);
    let sign = if money.amount < 0 { "-" } else { "" };
    let amount = money.amount.unsigned_abs();
    let (major, minor) = (amount / unit, amount % unit);
    match digits {
        0 => format!("{sign}{major} {}", money.currency),
        _ => format!(
            "{sign}{major}{separator}{minor:0width$} {}",
            money.currency,
            width = digits as usize
        ),
    }
}

/// ISO 4217: two, but for these.
fn minor_digits(currency: Currency) -> u32 {
    match currency.as_str() {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND" | "VUV"
        | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

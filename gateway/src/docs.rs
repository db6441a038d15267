//! The documentation page: the contract as one HTML file without scripts, pictures or downloads.
//!
//! Knows OpenAPI as JSON and nothing of our routes. Every text of the document is escaped.

use std::fmt::{self, Display, Write as _};

use serde_json::{Map, Value};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:#f6f6f4;padding:.6rem;overflow:auto}\
details{border-bottom:1px solid #ddd;padding:.35rem 0}summary{cursor:pointer}\
.method{display:inline-block;width:4.5rem;font-weight:600}.roles{color:#777;float:right}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.15rem .8rem .15rem 0}";

/// Renders a contract.
pub(crate) fn page(contract: &Value) -> String {
    let mut html = String::with_capacity(128 * 1024);
    write_page(&mut html, contract).expect("a string takes all text");
    html
}

fn write_page(html: &mut String, contract: &Value) -> fmt::Result {
    let (title, version) = (text(&contract["info"]["title"]), text(&contract["info"]["version"]));
    write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title} {version}</title><style>{STYLE}</style><h1>{title} <small>{version}</small></h1>"
    )?;
    for paragraph in contract["info"]["description"]
        .as_str()
        .unwrap_or_default()
        .split("\n\n")
    {
        write!(html, "<p>{}</p>", Escaped(paragraph))?;
    }
    html.push_str("<p>The same for machines: <a href=\"/openapi.json\">openapi.json</a></p>");
    for tag in contract["tags"].as_array().into_iter().flatten() {
        write!(
            html,
            "<h2>{}</h2><p>{}</p>",
            text(&tag["name"]),
            text(&tag["description"])
        )?;
        for (path, method, operation) in operations(contract) {
            if operation["tags"]
                .as_array()
                .is_some_and(|tags| tags.contains(&tag["name"]))
            {
                write_operation(html, path, method, operation)?;
            }
        }
    }
    html.push_str("<h2 id=schemas>Schemas</h2>");
    for (name, schema) in members(&contract["components"]["schemas"]) {
        let (name, schema) = (Escaped(name), pretty(schema));
        write!(
            html,
            "<details id=\"{name}\"><summary><code>{name}</code></summary><pre>{schema}</pre></details>"
        )?;
    }
    html.push_str("</html>");
    Ok(())
}

fn operations(contract: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    members(&contract["paths"])
        .flat_map(|(path, item)| members(item).map(move |(method, operation)| (path, method, operation)))
}

fn write_operation(html: &mut String, path: &str, method: &str, operation: &Value) -> fmt::Result {
    let roles: Vec<String> = operation["security"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|requirement| requirement["access_token"].as_array().into_iter().flatten())
        .map(|role| text(role).to_string())
        .collect();
    write!(
        html,
        "<details><summary><span class=method>{}</span><code>{}</code> {} <span class=roles>{}</span></summary>",
        Escaped(&method.to_uppercase()),
        Escaped(path),
        text(&operation["summary"]),
        roles.join(", ")
    )?;
    if let Some(description) = operation["description"].as_str() {
        write!(html, "<p>{}</p>", Escaped(description))?;
    }
    html.push_str("<table>");
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let need = if parameter["required"] == true {
            "required"
        } else {
            "optional"
        };
        let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
        let description = text(&parameter["description"]);
        write!(html, "<tr><td><code>{name}</code><td>{place}, {need}<td>{description}")?;
    }
    if operation["requestBody"].is_object() {
        html.push_str("<tr><td>body<td>");
        write_content(html, &operation["requestBody"])?;
    }
    for (status, response) in members(&operation["responses"]) {
        write!(html, "<tr><td>{}<td>", Escaped(status))?;
        write_content(html, response)?;
        write!(html, "<td>{}", text(&response["description"]))?;
    }
    html.push_str("</table></details>");
    Ok(())
}

/// The media types of a body, each with its schema: a link if it has a name.
fn write_content(html: &mut String, body: &Value) -> fmt::Result {
    for (media_type, content) in members(&body["content"]) {
        let schema = &content["schema"];
        match schema["$ref"].as_str().and_then(|link| link.rsplit('/').next()) {
            Some(name) => write!(html, "<a href=\"#{0}\">{0}</a> ", Escaped(name))?,
            None if schema.is_object() => write!(html, "<code>{}</code> ", Escaped(&schema.to_string()))?,
            None => {}
        }
        write!(html, "<small>{}</small> ", Escaped(media_type))?;
    }
    Ok(())
}

fn members(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object
        .as_object()
        .into_iter()
        .flat_map(Map::iter)
        .map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> Escaped<'_> {
    Escaped(value.as_str().unwrap_or_default())
}

fn pretty(value: &Value) -> String {
    Escaped(&format!("{value:#}")).to_string()
}

/// A text that no browser takes for markup, in elements and in quoted attributes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '<' => out.write_str("&lt;"),
            '>' => out.write_str("&gt;"),
            '&' => out.write_str("&amp;"),
            '"' => out.write_str("&quot;"),
            '\'' => out.write_str("&#39;"),
            other => out.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_text_of_the_contract_becomes_markup() {
        let evil = "<script>alert('x')</script>\"&";
        let contract = json!({
            "info": { "title": evil, "version": evil, "description": evil },
            "tags": [{ "name": evil, "description": evil }],
            "paths": { evil: { evil: {
                "tags": [evil],
                "summary": evil,
                "description": evil,
                "security": [{ "access_token": [evil] }],
                "parameters": [{ "name": evil, "in": evil, "description": evil }],
                "requestBody": { "content": { evil: { "schema": { "$ref": format!("#/components/schemas/{evil}") } } } },
                "responses": { evil: { "description": evil, "content": { evil: { "schema": { evil: evil } } } } },
            } } },
            "components": { "schemas": { evil: { evil: evil } } },
        });
        let page = page(&contract);
        assert!(page.contains("&lt;script&gt;"));
        assert!(!page.to_lowercase().contains("<script"), "{page}");
        assert!(!page.contains("'x'"), "{page}");
    }
}

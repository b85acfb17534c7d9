//! The documentation page: Swagger UI's own files, our page and script, and nothing from the network.

use salvo::{
    Depot, FlowCtrl, Handler, Request, Response, async_trait,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName},
    },
    oapi::swagger_ui,
};

use crate::problem::Problem;

const PAGE: &str = include_str!("docs/index.html");
const SCRIPT: &str = include_str!("docs/init.js");
/// The files of Swagger UI that the page names.
const ASSETS: [&str; 2] = ["swagger-ui.css", "swagger-ui-bundle.js"];
/// Nothing but our own files; Swagger UI sets styles on elements and shows images as data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Answers `/api/docs` and the files below it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Docs;

#[async_trait]
impl Handler for Docs {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        let file = req.param::<String>("file").unwrap_or_default();
        match file_of(&file) {
            Some((content_type, bytes)) => write(res, content_type, bytes),
            None => Problem::not_found("page").render(req, depot, res),
        }
    }
}

fn file_of(name: &str) -> Option<(&'static str, Vec<u8>)> {
    match name {
        "" => Some(("text/html; charset=utf-8", PAGE.into())),
        "init.js" => Some(("text/javascript; charset=utf-8", SCRIPT.into())),
        asset if ASSETS.contains(&asset) => {
            let config = swagger_ui::Config::from("/api/openapi.json");
            let file = swagger_ui::serve(asset, "", "", "", &config).ok().flatten()?;
            let css = asset.ends_with(".css");
            let content_type = if css {
                "text/css; charset=utf-8"
            } else {
                "text/javascript; charset=utf-8"
            };
            Some((content_type, file.bytes.into_owned()))
        }
        _ => None,
    }
}

fn write(res: &mut Response, content_type: &'static str, bytes: Vec<u8>) {
    res.status_code(StatusCode::OK);
    let headers = res.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    res.replace_body(bytes.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_names_is_there() {
        for part in PAGE.split('"').filter_map(|part| part.strip_prefix("/api/docs/")) {
            assert!(
                file_of(part).is_some_and(|(_, bytes)| !bytes.is_empty()),
                "{part}"
            );
        }
        assert!(file_of("../Cargo.toml").is_none());
    }

    #[test]
    fn the_page_takes_nothing_from_the_network_and_has_no_inline_script() {
        assert!(!PAGE.contains("http:") && !PAGE.contains("https:") && !PAGE.contains("src=\"//"));
        assert!(!PAGE.contains("<script>"));
    }
}

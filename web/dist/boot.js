(()=>{function o(){location.replace(`${location.pathname}?whole=true&${location.search.slice(1)}`)}addEventListener("error",({target:e})=>e!==window&&o(),!0);})();
